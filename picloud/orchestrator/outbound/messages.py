"""What is sent and what comes back: nouns."""

import enum
from dataclasses import dataclass

from picloud.model import HeaderList
from picloud.orchestrator.outbound.urls import Url


class Redirects(enum.StrEnum):
    """What to do with an answer that points elsewhere (the Fetch standard's redirect mode)."""

    FOLLOW = "follow"
    MANUAL = "manual"  # it is the answer
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Outgoing:
    """One request, checked."""

    method: str  # in upper case
    url: Url
    headers: HeaderList  # lower-case names
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class Incoming:
    """One answer."""

    status: int
    url: Url  # that gave it, after redirects
    headers: HeaderList  # lower-case names, one entry a name, repeats joined by ", "
    body: bytes
