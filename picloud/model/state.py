"""What scripts keep between invocations: keys, values, versions."""

import enum
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

import msgspec

from picloud.model.runs import Response

KEY_BYTES_MAX = 512  # of UTF-8
VALUE_BYTES_MAX = 256 * 1024  # as JSON, or raw
SPACE_BYTES_MAX = 64 * 1024 * 1024  # keys and values of one space
GET_BYTES_MAX = 4 * 1024 * 1024  # of what is read at once
KEY_OVERHEAD_BYTES = 64  # what each key counts beside its own bytes: it is a row of a table

SPACE_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")  # of one that scripts share


def is_space_name(text: str) -> bool:
    """Whether a shared space may have this name."""
    return SPACE_NAME.fullmatch(text) is not None


def own_space(script_id: int) -> str:
    """The space of a script: nobody else's, not even of a later script with its name."""
    return f"script {script_id}"


def shared_space(name: str) -> str:
    """A space that scripts share by a setting."""
    return f"shared {name}"


def shared_name(space: str) -> str | None:
    """The name of a space that scripts share; None of one that is a script's own."""
    return space.removeprefix("shared ") if space.startswith("shared ") else None


class ValueKind(enum.StrEnum):
    """How a value is kept."""

    JSON = "json"
    BYTES = "bytes"  # what is no UTF-8 text
    NUMBER = "number"  # a whole one of 64 bits: what can be increased


@dataclass(frozen=True, slots=True)
class Value:
    """One value; the field of its kind holds it."""

    kind: ValueKind
    text: str = ""  # a JSON document
    raw: bytes = b""
    number: int = 0

    @classmethod
    def parse(cls, document: bytes) -> "Value":
        """What a JSON document says; ValueError for what is none."""
        try:
            found = msgspec.json.decode(document)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise ValueError(f"is no JSON: {error}") from error
        if isinstance(found, int) and not isinstance(found, bool) and -(1 << 63) <= found < 1 << 63:
            return cls.of_number(found)
        return cls.of_json(document.decode())

    @classmethod
    def of_text(cls, text: str) -> "Value":
        """Text, as JSON has it."""
        return cls(ValueKind.JSON, text=msgspec.json.encode(text).decode())

    @classmethod
    def of_json(cls, text: str) -> "Value":
        """A JSON document; that it is one was seen to by its caller."""
        return cls(ValueKind.JSON, text=text)

    @classmethod
    def of_bytes(cls, raw: bytes) -> "Value":
        """Any bytes."""
        return cls(ValueKind.BYTES, raw=raw)

    @classmethod
    def of_number(cls, number: int) -> "Value":
        """A whole number of 64 bits."""
        return cls(ValueKind.NUMBER, number=number)

    @classmethod
    def of_string(cls, content: bytes) -> "Value":
        """What a script's string is: text if it is UTF-8, else bytes."""
        try:
            return cls.of_text(content.decode())
        except UnicodeDecodeError:
            return cls.of_bytes(content)

    @property
    def document(self) -> str:
        """As JSON; of bytes there is none."""
        return str(self.number) if self.kind is ValueKind.NUMBER else self.text

    @property
    def taken(self) -> int:
        """In bytes, as the limit of one value counts it: text without JSON's quotes and escapes."""
        return len(msgspec.json.decode(self.text).encode()) if self.text.lstrip().startswith('"') else self.size

    @property
    def size(self) -> int:
        """In bytes, as a space counts it."""
        return {ValueKind.JSON: len(self.text.encode()), ValueKind.BYTES: len(self.raw), ValueKind.NUMBER: 8}[self.kind]


@dataclass(frozen=True, slots=True)
class Entry:
    """A key that is there."""

    key: str
    value: Value
    version: int  # of all that ever was a key's: never given twice
    expires_at: datetime | None = None  # None: never


@dataclass(frozen=True, slots=True)
class Guard:
    """What must be there for a write to happen."""

    version: int | None = None  # 0: nothing; None: whatever there is
    expired_too: bool = False  # whether that version may have expired meanwhile: it was there when it was read


@dataclass(frozen=True, slots=True)
class KeptAnswer:
    """What was answered to a request with an Idempotency-Key."""

    invocation: str  # that gave it
    fingerprint: bytes  # of the request
    response: Response


WHATEVER = Guard()

Check = Callable[[int | None], None]
"""Looks at the version that is there, None if there is none, and raises what is to be told if that is not right."""


def is_last_page(found: Sequence[Entry], limit: int) -> bool:
    """Whether nothing comes behind a page of so many at most: it has fewer, and not because they are large."""
    return len(found) < limit and sum(it.value.size for it in found) < GET_BYTES_MAX // 2
