"""Subscriptions: which events a script may ask for, and whether one is among them.

Owns: the rules of patterns. Pure.

A pattern of types is a type, or one that ends in `.*`, which stands for one segment or more: `order.*` takes
`order.created` and `order.item.added`, not `order`; `*` alone takes every type. A pattern of sources or subjects is the
text itself, or ends in `*`, which stands for whatever follows, and be it nothing; `*` alone takes any that is there.
"""

from collections.abc import Collection
from dataclasses import dataclass

from picloud.errors import InvalidRequest
from picloud.model import EVENT_ATTRIBUTE_BYTES_MAX, EVENT_SOURCE_BYTES_MAX, EVENT_TYPE_BYTES_MAX, Event

ALL = "*"
_SEGMENTS = ".*"


@dataclass(frozen=True, slots=True)
class SubscriptionWanted:
    """A subscription that may be: checked when it is made; InvalidRequest names the field that is wrong."""

    type: str
    source: str | None = None  # None: any
    subject: str | None = None  # None: any, or none

    def __post_init__(self) -> None:
        check_type_pattern("type", self.type)
        check_text_pattern("source", self.source, EVENT_SOURCE_BYTES_MAX)
        check_text_pattern("subject", self.subject, EVENT_ATTRIBUTE_BYTES_MAX // 2)

    def takes(self, event: Event) -> bool:
        """Whether an event is among those that are asked for."""
        return self.type in type_patterns(event.type) and comes_from(self.source, self.subject, event)

    def is_of(self, scripts: Collection[str]) -> bool:
        """Whether it takes what these scripts publish as themselves, and nothing of others."""
        return self.source in {f"/scripts/{script}" for script in scripts}

    def __str__(self) -> str:
        more = [f"{name} {value}" for name, value in (("source", self.source), ("subject", self.subject)) if value]
        return ", ".join([self.type, *more])


def type_patterns(event_type: str) -> list[str]:
    """Every pattern that takes a type: `a.b` → `a.b`, `a.*`, `*`."""
    found, at = [event_type], len(event_type) - 1  # a last dot has nothing behind it
    while (at := event_type.rfind(".", 0, at)) >= 0:
        found.append(event_type[:at] + _SEGMENTS)
    return [*found, ALL]


def comes_from(source: str | None, subject: str | None, event: Event) -> bool:
    """Whether two patterns take an event's source and subject."""
    return _matches(source, event.source) and _matches(subject, event.subject)


def check_type_pattern(field: str, pattern: str) -> None:
    """InvalidRequest unless it is a pattern of types."""
    _check_text(field, pattern, EVENT_TYPE_BYTES_MAX)
    if ALL in pattern.removesuffix(_SEGMENTS) and pattern != ALL:
        raise InvalidRequest.of(field, f"'{pattern}' must have '*' as its last segment only: 'order.*', or '*' for all")


def check_text_pattern(field: str, pattern: str | None, bytes_max: int) -> None:
    """InvalidRequest unless it is a pattern of sources or subjects; None is good."""
    if pattern is None:
        return
    _check_text(field, pattern, bytes_max)
    if ALL in pattern[:-1]:
        raise InvalidRequest.of(field, f"'{pattern}' must have '*' at its end only: '/shop/*'")


def _check_text(field: str, text: str, bytes_max: int) -> None:
    if not text or not text.isprintable():
        raise InvalidRequest.of(field, "must be text without control characters, and not empty")
    if len(text.encode()) > bytes_max:
        raise InvalidRequest.of(field, f"has more than {bytes_max} bytes")


def _matches(pattern: str | None, text: str | None) -> bool:
    if pattern is None:
        return True
    if text is None:
        return False
    return text.startswith(pattern[:-1]) if pattern.endswith(ALL) else text == pattern
