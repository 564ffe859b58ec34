"""Hosts as people write them down: names, addresses, and patterns of both.

Owns: the one spelling in which hosts are compared. Knows nothing of where a name leads to.
"""

import ipaddress
import re
from dataclasses import dataclass

_LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_NAME = re.compile(rf"(?:{_LABEL}\.)*{_LABEL}")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
_NAME_BYTES_MAX = 253
_PORT = re.compile(r"[0-9]{1,5}")


def normal_host(text: str) -> str:
    """Lower case, no dot at the end, an IPv6 address in brackets and at its shortest; ValueError if it is none.

    What ends in a number is an IPv4 address of four decimals, and nothing else: `127.1`, `0x7f.0.0.1`, `2130706433`
    and `0177.0.0.1` are other people's ways to spell one, and are refused.
    """
    host = text.lower()
    if host.startswith("[") and host.endswith("]"):
        return _address_6(host[1:-1])
    host = host.removesuffix(".")
    if len(host) > _NAME_BYTES_MAX or not _NAME.fullmatch(host):
        raise ValueError(f"{text[:100]!a} is no host (a name of other letters is written as xn--…)")
    if _NUMBER.fullmatch(host.rpartition(".")[2]):
        return _address_4(host)
    return host


def _address_6(text: str) -> str:
    if "%" in text:
        raise ValueError("an address with a zone is no host")
    try:
        return f"[{ipaddress.IPv6Address(text).compressed}]"
    except ValueError:
        raise ValueError(f"[{text[:100]}] is no IPv6 address") from None


def _address_4(text: str) -> str:
    try:
        return str(ipaddress.IPv4Address(text))
    except ValueError:
        raise ValueError(f"{text[:100]} is no IPv4 address of four decimals, and no name ends in a number") from None


def port_of(text: str) -> int:
    """A port; ValueError."""
    if not _PORT.fullmatch(text) or not 1 <= int(text) <= 65_535:
        raise ValueError(f"{text[:20]!a} is no port")
    return int(text)


def host_and_port(text: str) -> tuple[str, int | None]:
    """`host[:port]` → the host in its one spelling, and the port, None if none is named; ValueError."""
    host, bracket, rest = text.partition("]") if text.startswith("[") else ("", "", text)
    name, colon, port = rest.partition(":")
    return normal_host(host + bracket + name), port_of(port) if colon else None


@dataclass(frozen=True, slots=True)
class HostPattern:
    """Which hosts are meant: `api.example.org`, `*.example.org` (all below it), an address; `:port`: that one only."""

    host: str  # as `normal_host` spells it
    port: int | None = None  # None: any
    below: bool = False  # those below it, and not itself

    @classmethod
    def parse(cls, text: str) -> "HostPattern":
        """ValueError says what is wrong."""
        below = text.startswith("*.")
        host, port = host_and_port(text.removeprefix("*."))
        if below and (host.startswith("[") or _NUMBER.fullmatch(host.rpartition(".")[2])):
            raise ValueError(f"{text[:100]!a}: nothing is below an address")
        return cls(host, port, below)

    def __str__(self) -> str:
        return ("*." if self.below else "") + self.host + (f":{self.port}" if self.port else "")

    def matches(self, host: str, port: int) -> bool:
        """Whether a host, as `normal_host` spells it, is meant."""
        here = host.endswith("." + self.host) if self.below else host == self.host
        return here and self.port in (None, port)


def private_hosts(text: str) -> tuple[HostPattern, ...]:
    """`name[:port]`, comma-separated: which hosts may be private. ValueError; one that stands for others is none."""
    patterns = tuple(HostPattern.parse(word.strip()) for word in text.split(",") if word.strip())
    if wide := next((it for it in patterns if it.below), None):
        raise ValueError(f"'{wide}': name each host")
    return patterns
