"""What a request wants, at a glance: enough to turn a flood away before a parser or a thread is asked.

Owns: the glance, and for how long a refusal is held back. Decides nothing; whatever it does not understand is for the
parser to judge.
"""

import re
from dataclasses import dataclass

HOLD_S = 0.06  # a client that tries again at once may do so so many times a second, and is still answered within 100 ms

_REQUEST_LINE = re.compile(rb"([A-Z]+) ([!-~]+) HTTP/1\.[01]\r\n")
_TOLD = re.compile(rb"\r\n(host|origin|access-control-request-method|x-forwarded-host):[ \t]*([^\r\n]*)", re.IGNORECASE)
# Nothing that could be, or announce, more than a head; so the next byte on the connection begins the next request.
_ALONE = re.compile(
    rb"[^\r\n]+ HTTP/1\.1\r\n"
    rb"(?:(?!content-length|transfer-encoding|connection|expect|upgrade)[a-z0-9_-]+:[^\r\n\0]*\r\n)+\r\n",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Glance:
    """What a head says."""

    asked: dict[str, str]  # a few names of WSGI's environ: the request line's, and of four headers those that came
    keeps_alive: bool  # another request may follow on the connection, even if this one is not read any further

    @property
    def with_body(self) -> bool:
        """Whether the answer has one."""
        return self.asked["REQUEST_METHOD"] != "HEAD"


def glance(head: bytes | bytearray, peer: str) -> Glance | None:
    """What a whole head says; None if it is not for us to understand. ``peer`` is the client's address."""
    line = _REQUEST_LINE.match(head)
    if line is None:
        return None
    told = _TOLD.findall(head, 0, head.find(b"\r\n\r\n"))
    asked = {
        **{f"HTTP_{name.decode().upper().replace('-', '_')}": value.decode("latin-1").strip() for name, value in told},
        "REQUEST_METHOD": line[1].decode(),
        "RAW_URI": line[2].decode(),
        "REMOTE_ADDR": peer,
    }
    return Glance(asked, _ALONE.fullmatch(head) is not None)
