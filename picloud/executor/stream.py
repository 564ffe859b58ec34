"""The rest of a conversation whose answer has begun: its pieces, as the sandbox makes them, and its end.

Owns: the order of go, pieces and end, and that the sandbox ends with whoever wants the answer. Knows nothing of frames.
One piece is held at a time: while nobody asks for the next one the sandbox waits, in the socket between us.
"""

import time
from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack

from picloud.executor import packing
from picloud.executor.said import Begun, Chunk
from picloud.model import Outcome, Run
from sandbox import protocol

_GO = protocol.frames(protocol.REPLY, packing.reply(()))

Hear = Callable[[Sequence[bytes]], Run | Begun | Chunk]
"""Send these packets, then hear what comes of it."""


class SandboxStream:
    """A `model.Stream` from a sandbox. `held` is let go when it ends, and the sandbox with it."""

    def __init__(self, hear: Hear, timed: Callable[[Run], Run], deadline: float, held: ExitStack) -> None:
        self.deadline = deadline
        self._hear = hear
        self._timed = timed
        self._held = held
        self._end: Run | None = None

    def pieces(self) -> Generator[bytes, None, None]:
        """Let the script begin; raises what its host calls do, see `HostCalls`."""
        heard = self._hear(_GO)
        while isinstance(heard, Chunk):
            yield heard.piece
            heard = self._hear(())
        assert isinstance(heard, Run)  # an answer begins once
        self._end = self._timed(heard)

    def close(self) -> Run:
        """Hang up → the end, as it was or as this makes it."""
        if self._end is None:
            in_time = time.monotonic() < self.deadline
            self._end = self._timed(_GONE if in_time else _TOO_SLOW)
        self._held.close()
        return self._end


_GONE = Run(Outcome.CALLER_GONE, detail="the caller hung up before the answer was whole")
_TOO_SLOW = Run(Outcome.TIMEOUT, detail="the caller took the answer so slowly that the wall clock limit came first")
