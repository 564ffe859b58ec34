"""`kv`: keys and values that last, as a script's host calls.

| call        | arguments                                    | values                                             |
|-------------|----------------------------------------------|----------------------------------------------------|
| kv.get      | space, key                                   | an entry, or nothing                               |
| kv.get_many | space, key, …                                | entries of those that are there                    |
| kv.list     | space, prefix, after, limit                  | entries                                            |
| kv.set      | space, key, kind, value, ttl ms, if version  | version; nothing if another one is there           |
| kv.incr     | space, key, by, ttl ms                       | the number                                         |
| kv.delete   | space, key, if version                       | `1` if it was there, else `0`                      |

An entry is four fields: key, kind (json, bytes, number), value, version. Numbers are decimals; what is left out is
empty.

What makes READ COMMITTED safe: what was read stays as it was read until the script changes it, and who writes a key
that was read replaces the version that was read. If another invocation was faster, this one clashes with it: it is
undone and runs again.
"""

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from picloud.errors import InvalidRequest, TransactionConflict
from picloud.model import KEY_BYTES_MAX, VALUE_BYTES_MAX, Entry, Value, ValueKind
from picloud.orchestrator.attempt import Attempt, Binding
from picloud.orchestrator.bindings.reading import fields, integer, optional_integer, text

_KEYS_MAX = 100  # of get_many
_PAGE_MAX = 100
_TTL_MS_MAX = 10 * 366 * 24 * 60 * 60 * 1000
_VERSION_MAX = (1 << 63) - 1
_CHANGED = "another invocation changed '{key}' meanwhile"


def get(attempt: Attempt, arguments: Sequence[bytes]) -> Sequence[bytes]:
    """kv.get"""
    space, key = _place(attempt, *fields(arguments, 2))
    if (space, key) not in attempt.shared.keys_read:
        attempt.shared.keys_read[space, key] = attempt.work().kv.get(space, [key]).get(key)
    entry = attempt.shared.keys_read[space, key]
    return _packed([entry] if entry else [])


def get_many(attempt: Attempt, arguments: Sequence[bytes]) -> Sequence[bytes]:
    """kv.get_many: one snapshot, so what was read before must still be as it was."""
    if not 2 <= len(arguments) <= _KEYS_MAX + 1:
        raise InvalidRequest(f"takes 1 to {_KEYS_MAX} keys")
    space, keys = _space(attempt, arguments[0]), [_key(key) for key in arguments[1:]]
    found = attempt.work().kv.get(space, keys)
    for key in keys:
        before, now = attempt.shared.keys_read.get((space, key), found.get(key)), found.get(key)
        if (before and before.version) != (now and now.version):
            raise TransactionConflict(_CHANGED.format(key=key))
        attempt.shared.keys_read[space, key] = now
    return _packed(found[key] for key in dict.fromkeys(keys) if key in found)


def page(attempt: Attempt, arguments: Sequence[bytes]) -> Sequence[bytes]:
    """kv.list: what is there now, beside what was read before."""
    space, prefix, after, limit = fields(arguments, 4)
    return _packed(
        attempt.work().kv.page(
            _space(attempt, space),
            text(prefix, "prefix"),
            text(after, "after"),
            integer(limit, "limit", 1, _PAGE_MAX),
        )
    )


def put(attempt: Attempt, arguments: Sequence[bytes]) -> Sequence[bytes]:
    """kv.set"""
    space_name, key_bytes, kind, raw, ttl, if_version = fields(arguments, 6)
    space, key = _place(attempt, space_name, key_bytes)
    value = _value(kind, raw)
    ttl_ms = optional_integer(ttl, "ttl", 1, _TTL_MS_MAX)
    wanted = optional_integer(if_version, "if_version", 0, _VERSION_MAX)
    version = attempt.work().kv.put(space, key, value, ttl_ms, _guard(attempt, space, key, wanted))
    if version is None:
        return _not_replaced(key, wanted)
    attempt.shared.keys_read[space, key] = Entry(key, value, version)
    return [b"%d" % version]


def increase(attempt: Attempt, arguments: Sequence[bytes]) -> Sequence[bytes]:
    """kv.incr"""
    space_name, key_bytes, by, ttl = fields(arguments, 4)
    space, key = _place(attempt, space_name, key_bytes)
    entry = attempt.work().kv.increase(space, key, integer(by, "by"), optional_integer(ttl, "ttl", 1, _TTL_MS_MAX))
    if entry is None:
        raise InvalidRequest(f"'{key}' holds no whole number, or one that this would take out of 64 bits")
    attempt.shared.keys_read[space, key] = entry
    return [b"%d" % entry.value.number]


def delete(attempt: Attempt, arguments: Sequence[bytes]) -> Sequence[bytes]:
    """kv.delete"""
    space_name, key_bytes, if_version = fields(arguments, 3)
    space, key = _place(attempt, space_name, key_bytes)
    wanted = optional_integer(if_version, "if_version", 1, _VERSION_MAX)
    guard = _guard(attempt, space, key, wanted)
    if guard == 0:  # it was read, and was not there
        return [b"0"]
    gone = attempt.work().kv.delete(space, key, guard)
    if not gone and guard is not None:
        return _not_replaced(key, wanted) or [b"0"]
    attempt.shared.keys_read[space, key] = None
    return [b"%d" % gone]


TABLE: Mapping[str, Binding] = {
    "kv.get": get,
    "kv.get_many": get_many,
    "kv.list": page,
    "kv.set": put,
    "kv.incr": increase,
    "kv.delete": delete,
}


def _guard(attempt: Attempt, space: str, key: str, wanted: int | None) -> int | None:
    """The version to replace: what the script says, else what it has read, else whichever is there (None)."""
    if wanted is not None or (space, key) not in attempt.shared.keys_read:
        return wanted
    entry = attempt.shared.keys_read[space, key]
    return entry.version if entry else 0


def _not_replaced(key: str, wanted: int | None) -> Sequence[bytes]:
    """Nothing, for a script that asked; one that did not has read what is not so any more."""
    if wanted is None:
        raise TransactionConflict(_CHANGED.format(key=key))
    return []


def _place(attempt: Attempt, space: bytes, key: bytes) -> tuple[str, str]:
    return _space(attempt, space), _key(key)


def _space(attempt: Attempt, name: bytes) -> str:
    if not name:
        return f"script {attempt.program.script_id}"
    raise InvalidRequest("shared spaces do not exist yet")


def _key(key: bytes) -> str:
    if not 1 <= len(key) <= KEY_BYTES_MAX:
        raise InvalidRequest(f"a key has 1 to {KEY_BYTES_MAX} bytes, not {len(key)}")
    return text(key, "a key")


def _value(kind: bytes, raw: bytes) -> Value:
    if len(raw) > VALUE_BYTES_MAX:
        raise InvalidRequest(f"a value has at most {VALUE_BYTES_MAX} bytes, not {len(raw)}")
    if kind == b"number":
        return Value.of_number(integer(raw, "a number"))
    if kind == b"bytes":
        return Value.of_bytes(raw)
    try:
        msgspec.json.decode(raw)  # a sandbox could say anything, and others are shown it as JSON
        return Value.of_json(raw.decode())
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        raise InvalidRequest("a value must be JSON") from None


def _packed(entries: Iterable[Entry]) -> Sequence[bytes]:
    rows = ((it.key.encode(), it.value.kind.encode(), _raw(it.value), b"%d" % it.version) for it in entries)
    return [field for row in rows for field in row]


def _raw(value: Value) -> bytes:
    if value.kind is ValueKind.NUMBER:
        return b"%d" % value.number
    return value.raw if value.kind is ValueKind.BYTES else value.text.encode()
