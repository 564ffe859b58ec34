"""What a script's CORS settings may say (the CORS protocol of the Fetch standard).

Owns: the form of origins, headers and methods, so that they can be compared byte for byte with what a browser sends.
"""

import ipaddress
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, UnsetType

from picloud.messages.forms import form

ENTRIES_MAX = 64  # of each list
MAX_AGE_S = 86_400

ANY = "*"

HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}")  # RFC 9110, 5.6.2; a method's name is one, too

_ORIGIN = re.compile(r"([a-z][a-z0-9+.-]{0,31})://(\[[0-9a-f:.]+\]|[a-z0-9_](?:[a-z0-9._-]{0,252}))(?::([0-9]{1,5}))?")
_DEFAULT_PORTS = {"http": 80, "https": 443}
_LISTS = ("origins", "headers", "methods")

_Entries = Meta(extra_json_schema={"maxItems": ENTRIES_MAX})
_Origins = Annotated[list[Annotated[str, form("origin", "`*`, or `scheme://host[:port]`")]], _Entries]
_Tokens = Annotated[list[Annotated[str, form("http-token", "`*`, or a name")]], _Entries]


class CorsPatch(msgspec.Struct, forbid_unknown_fields=True):
    """What to change of the pages of other origins that may call a script; null: back to the default."""

    origins: _Origins | UnsetType | None = UNSET
    headers: _Tokens | UnsetType | None = UNSET
    methods: _Tokens | UnsetType | None = UNSET
    credentials: bool | UnsetType | None = UNSET
    max_age: Annotated[int, Meta(ge=0, le=MAX_AGE_S)] | UnsetType | None = UNSET


def is_header_name(text: str) -> bool:
    """Whether a header may have this name."""
    return HEADER_NAME.fullmatch(text) is not None


def wrong(given: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """What is wrong with the lists of a change: field and reason."""
    for name in _LISTS:
        entries = given.get(name) or ()
        if len(entries) > ENTRIES_MAX:
            yield f"cors.{name}", f"has {len(entries)} entries, at most {ENTRIES_MAX} are taken"
            continue
        for at, entry in enumerate(entries):
            if _normal_entry(name, entry) is None:
                yield f"cors.{name}[{at}]", f"{entry[:100]!a} {_EXPECTED[name]}"


def wrong_together(whole: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """What is wrong with a script's CORS as it would be."""
    if whole.get("credentials") and ANY in whole.get("origins", ()):
        yield "cors.credentials", "cannot be true while origins has '*': name the origins"


def normal(given: Mapping[str, Any]) -> dict[str, Any]:
    """A change that is not wrong, as it is stored: origins and headers in lower case, methods in upper, each once."""
    return {name: _normal_list(name, value) if name in _LISTS and value else value for name, value in given.items()}


def _normal_list(name: str, entries: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(str(_normal_entry(name, entry)) for entry in entries))


def _normal_entry(name: str, entry: str) -> str | None:
    """None if it is none."""
    if entry == ANY:
        return entry
    if name == "origins":
        return _origin(entry.lower())
    if not is_header_name(entry):
        return None
    return entry.lower() if name == "headers" else entry.upper()


def _origin(text: str) -> str | None:
    """As a browser spells it: without the scheme's own port, an IPv6 address at its shortest."""
    parts = _ORIGIN.fullmatch(text)
    if parts is None:
        return None
    scheme, host, port = parts[1], parts[2], int(parts[3] or 0)
    if host.startswith("["):
        try:
            host = f"[{ipaddress.IPv6Address(host[1:-1]).compressed}]"
        except ValueError:
            return None
    if port > 65_535 or (parts[3] and port == 0):
        return None
    return f"{scheme}://{host}" + (f":{port}" if port and port != _DEFAULT_PORTS.get(scheme) else "")


_EXPECTED = {
    "origins": "is no origin: '*', or scheme://host[:port] as a browser sends it (no path, a foreign name as xn--…)",
    "headers": "is no name of a header, nor '*'",
    "methods": "is no method, nor '*'",
}
