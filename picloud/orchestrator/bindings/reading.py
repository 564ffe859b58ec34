"""What the arguments of a host call must be; InvalidRequest says which is not.

Owns: how text, numbers and counts cross, and that a call has as many fields as it needs. Knows no binding.
"""

from collections.abc import Sequence

from picloud.errors import InvalidRequest

_INTEGER_BYTES_MAX = 20  # of 64 bits, with a sign


def fields(arguments: Sequence[bytes], count: int) -> Sequence[bytes]:
    """Exactly so many."""
    if len(arguments) != count:
        raise InvalidRequest(f"needs {count} fields, not {len(arguments)}")
    return arguments


def text(field: bytes, what: str) -> str:
    """UTF-8 without NUL, which PostgreSQL cannot hold."""
    try:
        decoded = field.decode()
    except UnicodeDecodeError:
        raise InvalidRequest(f"{what} must be UTF-8 text") from None
    if "\0" in decoded:
        raise InvalidRequest(f"{what} must not contain a NUL")
    return decoded


def integer(field: bytes, what: str, least: int = -(1 << 63), most: int = (1 << 63) - 1) -> int:
    """A whole number, as ASCII decimals."""
    digits = field.removeprefix(b"-")
    if not (digits.isdigit() and len(field) <= _INTEGER_BYTES_MAX and least <= int(field) <= most):
        raise InvalidRequest(f"{what} must be a whole number from {least} to {most}")
    return int(field)


def optional_integer(field: bytes, what: str, least: int, most: int) -> int | None:
    """The same; None if it is empty."""
    return integer(field, what, least, most) if field else None


def latin(field: bytes) -> str:
    """Bytes as HTTP carries them."""
    return field.decode("latin-1")
