"""Server-sent events, as far as PiCloud sends them (https://html.spec.whatwg.org/multipage/server-sent-events.html)."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Event:
    """One event; without data it only says where to resume."""

    id: str  # the last one that was given
    data: str


def parse(chunks: Iterable[bytes]) -> Iterator[Event]:
    """Events as they are complete, wherever the bytes were cut."""
    rest, last_id, data = b"", "", ""
    for chunk in chunks:
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            field, _, value = line.decode().partition(": ")
            if field == "id":
                last_id = value
            elif field == "data":
                data = value
            elif not line:
                yield Event(last_id, data)
                data = ""
