"""What scripts keep, as their owner sees it: keys and values, by hand.

Owns: what a key and a value may be here, which are the rules of `kv` in scripts.
"""

from typing import Any, Protocol

import msgspec

from picloud.errors import InvalidRequest, PreconditionFailed
from picloud.model import KEY_BYTES_MAX, VALUE_BYTES_MAX, Check, Condition, Entry, Value

_DEPTH_MAX = 128  # as scripts read JSON


class ValueRepository(Protocol):
    """Where values are kept; ``shared``: the space that the script may use, '': its own. NotFound."""

    def page(self, script: str, shared: str, prefix: str, after: str, limit: int) -> list[Entry]:
        """In the order of keys; none only if there is none."""

    def get(self, script: str, shared: str, key: str) -> Entry:
        """One value."""

    def put(self, script: str, shared: str, key: str, value: Value, ttl_ms: int | None, check: Check) -> Entry:
        """Store a value, if `check` lets it; SpaceFull, TransactionConflict."""

    def delete(self, script: str, shared: str, key: str, check: Check) -> None:
        """Remove a value, if `check` lets it."""


class Values:
    """Keys and values of scripts; NotFound."""

    def __init__(self, repository: ValueRepository) -> None:
        self._repository = repository

    def page(self, script: str, shared: str, prefix: str, after: str, limit: int) -> list[Entry]:
        """At most `limit` whose key begins with `prefix`, those behind `after`; none only if there is none."""
        return self._repository.page(script, shared, prefix, after, limit)

    def get(self, script: str, shared: str, key: str) -> Entry:
        """One value."""
        return self._repository.get(script, shared, key)

    def put(self, script: str, shared: str, key: str, value: Value, ttl_ms: int | None, condition: Condition) -> Entry:
        """Store a value → what is there now; InvalidRequest, PreconditionFailed, SpaceFull."""
        if not 1 <= len(key.encode()) <= KEY_BYTES_MAX or "\0" in key:
            raise InvalidRequest.of("key", f"has 1 to {KEY_BYTES_MAX} bytes, without a zero byte")
        return self._repository.put(script, shared, key, value, ttl_ms, _check(key, condition))

    def delete(self, script: str, shared: str, key: str, condition: Condition) -> None:
        """Remove a value; PreconditionFailed."""
        self._repository.delete(script, shared, key, _check(key, condition))


def value_of(content: bytes, *, is_json: bool) -> Value:
    """What is to be stored: a JSON document, or bytes; InvalidRequest."""
    try:
        value = Value.parse(content) if is_json else Value.of_string(content)
    except ValueError as error:
        raise InvalidRequest(f"the body {error}") from error
    if is_json and _is_deeper(msgspec.json.decode(content), _DEPTH_MAX):
        raise InvalidRequest(f"the body is nested deeper than {_DEPTH_MAX}, which no script could read")
    if value.taken > VALUE_BYTES_MAX:
        raise InvalidRequest(f"a value has at most {VALUE_BYTES_MAX} bytes, not {value.taken}")
    return value


def _check(key: str, condition: Condition) -> Check:
    def check(version: int | None) -> None:
        if condition.create_only and version is not None:
            raise PreconditionFailed(f"there is a '{key}' already: version {version}")
        if condition.update_only and version is None:
            raise PreconditionFailed(f"there is no '{key}' yet")
        if condition.active_versions is not None and version not in condition.active_versions:
            raise PreconditionFailed(f"'{key}' is at version {version}" if version else f"there is no '{key}'")

    return check


def _is_deeper(value: Any, than: int) -> bool:
    if not isinstance(value, dict | list):
        return False
    inner = value.values() if isinstance(value, dict) else value
    return than == 0 or any(_is_deeper(it, than - 1) for it in inner)
