"""Turning a flood away at the door: before a parser, a thread or the application is asked.

Owns: what a head says at a glance, the answer to those who are turned away, and for how long it is held back.
Decides nothing: the service does, and whatever is not understood here is for the parser to judge.
"""

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

from picloud.server.refusals import RenderProblem, answer

# A client that tries again at once, and has nothing else to wait for, leaves this much time to those that were let in.
HOLD_S = 0.05  # it is promised an answer within 0.1
HOLD_GRAIN_S = 0.01

_TARGET_BYTES_MAX = 8190  # more is for the parser to refuse: to take a long path apart would hold the loop up
_REQUEST_LINE = re.compile(rb"([A-Z]{1,32}) ([!-~]{1,%d}) HTTP/1\.[01]\r\n" % _TARGET_BYTES_MAX)
_TOLD = re.compile(rb"\r\n(host|origin|access-control-request-method|x-forwarded-host):[ \t]*([^\r\n]*)", re.IGNORECASE)
# Nothing that could be, or announce, more than a head: the next byte on the connection begins the next request.
_ALONE = re.compile(
    rb"[^\r\n]+ HTTP/1\.1\r\n"
    rb"(?:(?!content-length|transfer-encoding|connection|expect|upgrade)[a-z0-9_-]+:[^\r\n\0]*\r\n)+\r\n",
    re.IGNORECASE,
)


class Refuser(Protocol):
    """Who decides."""

    def refuse(self, asked: Mapping[str, str]) -> tuple[int, str, dict[str, str]] | None:
        """Status, detail and headers; None: answer it. Never waits."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """What one who is turned away is sent."""

    text: bytes
    keeps_alive: bool  # it may ask again on the same connection


class Door:
    """Where each whole head comes by."""

    def __init__(self, service: Refuser, render: RenderProblem) -> None:
        self._service = service
        self._refusal = lru_cache(maxsize=64)(_Writer(render).refusal)  # a flood gets the same answer a second long

    def refusal(self, head: bytes | bytearray, peer: str) -> Refusal | None:
        """What its sender, at the address ``peer``, is turned away with; None: let it in."""
        asked = glance(head, peer)
        refused = asked and self._service.refuse(asked)
        if not asked or not refused:
            return None
        status, detail, headers = refused
        with_body = asked["REQUEST_METHOD"] != "HEAD"
        return self._refusal(int(time.time()), status, detail, tuple(headers.items()), with_body, is_alone(head))


@dataclass(frozen=True, slots=True)
class _Writer:
    render: RenderProblem

    def refusal(
        self,
        _second: int,  # of its Date
        status: int,
        detail: str,
        headers: tuple[tuple[str, str], ...],
        with_body: bool,
        keeps_alive: bool,
    ) -> Refusal:
        text = answer(self.render, status, detail, dict(headers), with_body=with_body, keeps_alive=keeps_alive)
        return Refusal(text, keeps_alive)


def glance(head: bytes | bytearray, peer: str) -> dict[str, str] | None:
    """What a whole head asks for, by WSGI's names: its request line, and of four headers those that came."""
    line = _REQUEST_LINE.match(head)
    if line is None:
        return None
    told = _TOLD.findall(head, 0, head.find(b"\r\n\r\n"))
    return {
        **{f"HTTP_{name.decode().upper().replace('-', '_')}": value.decode("latin-1").strip() for name, value in told},
        "REQUEST_METHOD": line[1].decode(),
        "RAW_URI": line[2].decode(),
        "REMOTE_ADDR": peer,
    }


def is_alone(head: bytes | bytearray) -> bool:
    """Whether a request surely is no more than its head, and lets another follow it."""
    return _ALONE.fullmatch(head) is not None
