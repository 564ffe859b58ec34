"""What msgspec finds wrong, in words for who sent it, and by field.

Owns: these words. Knows msgspec's own, which name Python's types; a message that it does not know stays as it is.
"""

import ast
import difflib
import enum
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, get_args

import msgspec

from picloud.errors import InvalidRequest
from picloud.model import SCRIPT_NAME

SCRIPT_PATTERN = f"^{SCRIPT_NAME.pattern}$"
SCRIPT_NAME_RULE = "lower-case letters, digits and '-', at most 63, no '-' first"
CURSOR_PATTERN = "^[!-~]{1,200}$"  # visible ASCII

_MEANT = {
    SCRIPT_PATTERN: f"cannot be a script's name: {SCRIPT_NAME_RULE}",
    CURSOR_PATTERN: "must be the `next` of the page before",
}
_TIME = "must be a time with its zone, such as 2026-01-31T12:00:00Z"
_TYPES = {
    "str": "text", "int": "a whole number", "float": "a number", "bool": "true or false", "array": "a list",
    "object": "an object", "null": "null", "datetime": "a time", "date": "a date", "uuid": "a UUID",
}  # fmt: skip
_JSON_TYPES: dict[type, str] = {
    str: "str", int: "int", float: "float", bool: "bool", list: "array", dict: "object", type(None): "null",
}  # fmt: skip
_AT = " - at `"
_OF_KEY = "[...]"
_UNKNOWN = re.compile(r"Object contains unknown field `(.*)`", re.DOTALL)
_MISSING = re.compile(r"Object missing required field `(.*)`")
_NO_MEMBER = re.compile(r"Invalid enum value '(.*)'", re.DOTALL)
_OTHER_TYPE = re.compile(r"Expected `([a-z| ]+)`, got `([a-z]+)`")
_RANGE = re.compile(r"Expected `(?:int|float)(?: \| null)?` ([<>]=) (\S+)")
_LENGTH = re.compile(r"Expected `(str|array|object)(?: \| null)?` of length ([<>]=) ([0-9]+)")
_PATTERN = re.compile(r"Expected `str(?: \| null)?` matching regex (.+)")
_NO_TIME = re.compile("Expected `datetime.*` with a timezone component|Invalid RFC3339 encoded datetime")
_NO_UUID = re.compile("Invalid UUID")
_BOUNDS = {">=": "at least", "<=": "at most"}
_COUNTED = {"str": "characters", "array": "items", "object": "entries"}


def invalid(kind: Any, error: msgspec.ValidationError, where: str, value: object = None) -> InvalidRequest:
    """What is wrong with ``value``, which is no ``kind``, for people and by field; ``where`` stands before it."""
    said, _, path = str(error).partition(_AT)
    field = _named(path.removesuffix("`").removeprefix("$").removeprefix("."), said, value)
    inner = _UNKNOWN.fullmatch(said) or _MISSING.fullmatch(said)
    if inner:
        field = ".".join(filter(None, (field, inner[1])))
    message = _message(kind, said)
    return InvalidRequest.of(field, message, where) if field else InvalidRequest(where + message)


def _message(kind: Any, said: str) -> str:
    words: tuple[tuple[re.Pattern[str], Callable[[re.Match[str]], str]], ...] = (
        (_UNKNOWN, lambda it: "is not known" + _did_you_mean(it[1], dict(_names(kind)))),
        (_MISSING, lambda _: "is missing"),
        (_NO_MEMBER, lambda it: f"'{it[1]}' is not known" + _did_you_mean(it[1], {it: it for it in _members(kind)})),
        (_OTHER_TYPE, lambda it: f"must be {_types(it[1])}, not {_TYPES.get(it[2], it[2])}"),
        (_RANGE, lambda it: f"must be {_BOUNDS[it[1]]} {it[2]}"),
        (_LENGTH, lambda it: f"must have {_BOUNDS[it[2]]} {it[3]} {_COUNTED[it[1]]}"),
        (_PATTERN, lambda it: _meant(ast.literal_eval(it[1]))),
        (_NO_TIME, lambda _: _TIME),
        (_NO_UUID, lambda _: "must be a UUID"),
    )
    return next((word(found) for pattern, word in words if (found := pattern.fullmatch(said))), said)


def _meant(pattern: str) -> str:
    return _MEANT.get(pattern, f"must match {pattern}")


def _types(names: str) -> str:
    """`int | null` as people say it."""
    return " or ".join(_TYPES.get(name, name) for name in names.split(" | "))


def _named(path: str, said: str, value: object) -> str:
    """A path to one entry of an object, of which msgspec says `[...]` alone, with its key: the first of that type."""
    mistaken = _OTHER_TYPE.fullmatch(said)
    if mistaken is None or not path.endswith(_OF_KEY):
        return path
    parent = path.removesuffix(_OF_KEY)
    entries = _inside(value, parent)
    key = next((key for key, it in entries.items() if _JSON_TYPES.get(type(it)) == mistaken[2]), None)
    return parent if key is None else f"{parent}.{key}"


def _inside(value: object, path: str) -> Mapping[str, object]:
    """The object at a path of field names; an empty one where the path goes through anything else."""
    for name in path.split("."):
        value = value.get(name) if isinstance(value, Mapping) else None
    return value if isinstance(value, Mapping) else {}


def _did_you_mean(word: str, known: Mapping[str, str]) -> str:
    """The nearest of names → where they belong; a right name at a wrong place is shown with its place."""
    near = difflib.get_close_matches(word, known, n=1)
    return f"; did you mean '{known[word] if near[0] == word else near[0]}'?" if near else ""


def _names(kind: Any, inside: str = "") -> Iterator[tuple[str, str]]:
    """Every field of a message and of those inside it → its path."""
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        for field in msgspec.structs.fields(kind):
            path = inside + field.encode_name
            yield field.encode_name, path
            yield from _names(field.type, f"{path}.")
    for inner in get_args(kind):
        yield from _names(inner, inside)


def _members(kind: Any) -> Iterator[str]:
    """Every value of the enums in a message and in those inside it."""
    if isinstance(kind, type) and issubclass(kind, enum.StrEnum):
        yield from kind
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        for field in msgspec.structs.fields(kind):
            yield from _members(field.type)
    for inner in get_args(kind):
        yield from _members(inner)
