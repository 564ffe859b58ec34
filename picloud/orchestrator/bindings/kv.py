"""`kv`: keys and values that last, as a script's host calls.

| call        | arguments                                    | values                                             |
|-------------|----------------------------------------------|----------------------------------------------------|
| kv.get      | space, key                                   | an entry, or nothing                               |
| kv.get_many | space, key, …                                | entries of those that are there                    |
| kv.list     | space, prefix, after, limit                  | entries                                            |
| kv.set      | space, key, kind, value, ttl ms, if version  | version; nothing if another one is there           |
| kv.incr     | space, key, by, ttl ms                       | the number                                         |
| kv.delete   | space, key, if version                       | `1` if it was there, else `0`                      |

A space is empty for the script's own. An entry is four fields: key, kind (json, bytes, number), value, version; of what
is stored, text is a kind, too. Numbers are decimals; what is left out is empty.

What makes READ COMMITTED safe: what was read stays as it was read until the script changes it, and who writes a key
that was read replaces the version that was read. If another invocation was faster, this one clashes with it: it is
undone and runs again.
"""

from collections.abc import Iterable, Mapping, Sequence

from picloud.errors import InvalidRequest, TransactionConflict
from picloud.model import (
    KEY_BYTES_MAX,
    VALUE_BYTES_MAX,
    Entry,
    Guard,
    Value,
    ValueKind,
    is_last_page,
    is_space_name,
    own_space,
    shared_space,
)
from picloud.orchestrator.attempt import Attempt, Binding
from picloud.orchestrator.bindings.reading import fields, integer, optional_integer, text

_KEYS_MAX = 100  # of get_many
_PAGE_MAX = 100
_TTL_MS_MAX = 10 * 366 * 24 * 60 * 60 * 1000
_INTEGERS = (-(1 << 63), (1 << 63) - 1)
_NO_NUMBER = "'{key}' holds no whole number, or one that this would take out of 64 bits"


def get(attempt: Attempt, arguments: Sequence[bytes]) -> Sequence[bytes]:
    """kv.get"""
    entry = _read(attempt, *_place(attempt, *fields(arguments, 2)))
    return _packed([entry] if entry else [])


def get_many(attempt: Attempt, arguments: Sequence[bytes]) -> Sequence[bytes]:
    """kv.get_many: one snapshot, so what was read before must still be as it was."""
    if not 2 <= len(arguments) <= _KEYS_MAX + 1:
        raise InvalidRequest(f"takes 1 to {_KEYS_MAX} keys")
    space, keys = _space(attempt, arguments[0]), list(dict.fromkeys(map(_key, arguments[1:])))
    found = attempt.work().kv.get(space, keys)
    for key in keys:
        _saw(attempt, space, key, found.get(key))
    return _packed(found[key] for key in keys if key in found)


def page(attempt: Attempt, arguments: Sequence[bytes]) -> Sequence[bytes]:
    """kv.list: one snapshot, too."""
    space_name, prefix_bytes, after_bytes, limit_bytes = fields(arguments, 4)
    space, limit = _space(attempt, space_name), integer(limit_bytes, "limit", 1, _PAGE_MAX)
    prefix, after = _part_of_key(prefix_bytes, "prefix"), _part_of_key(after_bytes, "after")
    entries = attempt.work().kv.page(space, prefix, after, limit)
    found = {it.key: it for it in entries}
    until = None if is_last_page(entries, limit) else entries[-1].key
    for key in attempt.shared.reads.present(space):
        if key not in found and key.startswith(prefix) and key > after and (until is None or key < until):
            _saw(attempt, space, key, None)  # it should be among them
    for key, entry in found.items():
        _saw(attempt, space, key, entry)
    return _packed(entries)


def put(attempt: Attempt, arguments: Sequence[bytes]) -> Sequence[bytes]:
    """kv.set"""
    space_name, key_bytes, kind, raw, ttl, if_version = fields(arguments, 6)
    space, key = _place(attempt, space_name, key_bytes)
    value, ttl_ms = _value(kind, raw), optional_integer(ttl, "ttl", 1, _TTL_MS_MAX)
    guard = _guard(attempt, space, key, optional_integer(if_version, "if_version", 0, _INTEGERS[1]))
    if guard is None:
        return []
    entry = attempt.work().kv.put(space, key, value, ttl_ms, guard)
    if entry is None:
        return _refused(attempt, space, key)
    attempt.shared.reads.note(space, key, entry)
    return [b"%d" % entry.version]


def increase(attempt: Attempt, arguments: Sequence[bytes]) -> Sequence[bytes]:
    """kv.incr: one statement, unless the number was read: then it is written as what was read and so much more."""
    space_name, key_bytes, by_bytes, ttl = fields(arguments, 4)
    space, key = _place(attempt, space_name, key_bytes)
    by, ttl_ms = integer(by_bytes, "by"), optional_integer(ttl, "ttl", 1, _TTL_MS_MAX)
    if attempt.shared.reads.version(space, key) is None:
        entry = attempt.work().kv.increase(space, key, by, ttl_ms)
    else:
        entry = _increase_read(attempt, space, key, by, ttl_ms)
    if entry is None:
        raise InvalidRequest(_NO_NUMBER.format(key=key))
    attempt.shared.reads.note(space, key, entry)
    return [b"%d" % entry.value.number]


def delete(attempt: Attempt, arguments: Sequence[bytes]) -> Sequence[bytes]:
    """kv.delete"""
    space_name, key_bytes, if_version = fields(arguments, 3)
    space, key = _place(attempt, space_name, key_bytes)
    guard = _guard(attempt, space, key, optional_integer(if_version, "if_version", 1, _INTEGERS[1]))
    if guard is None or guard.version == 0:  # it was read, and was not there, or not so
        return [b"0"]
    if attempt.work().kv.delete(space, key, guard):
        attempt.shared.reads.note(space, key, None)
        return [b"1"]
    if guard.version is None:
        attempt.shared.reads.note(space, key, None)
        return [b"0"]
    return _refused(attempt, space, key) or [b"0"]


TABLE: Mapping[str, Binding] = {
    "kv.get": get,
    "kv.get_many": get_many,
    "kv.list": page,
    "kv.set": put,
    "kv.incr": increase,
    "kv.delete": delete,
}


def _read(attempt: Attempt, space: str, key: str) -> Entry | None:
    """What is there, or was when it was read first."""
    kept = attempt.shared.reads.entry(space, key)
    if kept or attempt.shared.reads.version(space, key) == 0:
        return kept
    entry = attempt.work().kv.get(space, [key]).get(key)
    _saw(attempt, space, key, entry)
    return entry


def _saw(attempt: Attempt, space: str, key: str, entry: Entry | None) -> None:
    """Remember what is there; TransactionConflict if something else was, and its time is not just over."""
    before, now = attempt.shared.reads.version(space, key), entry.version if entry else 0
    if before not in (None, now) and not (before and not now and attempt.work().kv.expired(space, key, before)):
        raise _clash(key)
    attempt.shared.reads.note(space, key, entry)


def _guard(attempt: Attempt, space: str, key: str, wanted: int | None) -> Guard | None:
    """What is to be replaced: what was read, else what the script says (None: whatever is there).

    No guard at all: what was read is not what the script says.
    """
    read = attempt.shared.reads.version(space, key)
    if read is None:
        return Guard(wanted)
    return Guard(read, expired_too=True) if wanted in (None, read) else None


def _refused(attempt: Attempt, space: str, key: str) -> Sequence[bytes]:
    """Nothing, for a script that asked; what has been read and is not so any more is a clash."""
    if attempt.shared.reads.version(space, key) is None:
        return []
    raise _clash(key)


def _increase_read(attempt: Attempt, space: str, key: str, by: int, ttl_ms: int | None) -> Entry | None:
    before = _read(attempt, space, key) or Entry(key, Value.of_number(0), 0)
    number = before.value.number + by
    if before.value.kind is not ValueKind.NUMBER or not _INTEGERS[0] <= number <= _INTEGERS[1]:
        return None
    expiry = before.expires_at if before.version else ttl_ms
    guard = Guard(before.version, expired_too=True)
    entry = attempt.work().kv.put(space, key, Value.of_number(number), expiry, guard)
    if entry is None:
        raise _clash(key)
    return entry


def _clash(key: str) -> TransactionConflict:
    return TransactionConflict(f"another invocation changed '{key}' meanwhile")


def _place(attempt: Attempt, space: bytes, key: bytes) -> tuple[str, str]:
    return _space(attempt, space), _key(key)


def _space(attempt: Attempt, name_bytes: bytes) -> str:
    if not name_bytes:
        return own_space(attempt.program.script_id)
    name = text(name_bytes, "a space's name")
    if not is_space_name(name):
        raise InvalidRequest("a space's name has 1 to 63 letters a to z, digits and '-', no '-' first")
    if name not in attempt.program.settings.kv:
        raise InvalidRequest(f"this script may not use the space '{name}': its setting 'kv' does not name it")
    return shared_space(name)


def _key(key: bytes) -> str:
    if not 1 <= len(key) <= KEY_BYTES_MAX:
        raise InvalidRequest(f"a key has 1 to {KEY_BYTES_MAX} bytes, not {len(key)}")
    return text(key, "a key")


def _part_of_key(part: bytes, what: str) -> str:
    if len(part) > KEY_BYTES_MAX:
        raise InvalidRequest(f"{what} has at most {KEY_BYTES_MAX} bytes, not {len(part)}")
    return text(part, what)


def _value(kind: bytes, raw: bytes) -> Value:
    if len(raw) > VALUE_BYTES_MAX:
        raise InvalidRequest(f"a value has at most {VALUE_BYTES_MAX} bytes, not {len(raw)}")
    if kind == b"number":
        return Value.of_number(integer(raw, "a number"))
    if kind == b"bytes":
        return Value.of_bytes(raw)
    try:  # a sandbox could say anything, and others are to read it
        return Value.of_text(raw.decode()) if kind == b"text" else Value.parse(raw)
    except ValueError as error:
        raise InvalidRequest(f"a value {error}") from None


def _packed(entries: Iterable[Entry]) -> Sequence[bytes]:
    rows = ((it.key.encode(), it.value.kind.encode(), _raw(it.value), b"%d" % it.version) for it in entries)
    return [field for row in rows for field in row]


def _raw(value: Value) -> bytes:
    if value.kind is ValueKind.NUMBER:
        return b"%d" % value.number
    return value.raw if value.kind is ValueKind.BYTES else value.text.encode()
