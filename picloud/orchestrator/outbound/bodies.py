"""An answer's body, unpacked and bounded: a few bytes can be packed so that they would fill the memory. No I/O.

Owns: gzip and deflate (RFC 9110, 8.4.1). Knows no socket: who reads hands in a function.
"""

import zlib
from collections.abc import Callable, Iterator

from picloud.errors import NoAnswer

BODY_BYTES_MAX = 8 * 1024 * 1024 - 256 * 1024  # with headers and URL beside it a host call can carry it
ENCODINGS = "gzip, deflate"  # what is asked for
_READ_BYTES = 64 * 1024
_PIECE_BYTES = 256 * 1024
_MEMBER = b"\x1f\x8b"  # what a member of gzip begins with
_GZIP, _DEFLATE, _BARE = 16 + zlib.MAX_WBITS, zlib.MAX_WBITS, -zlib.MAX_WBITS
_WINDOWS = {"gzip": _GZIP, "x-gzip": _GZIP, "deflate": _DEFLATE}
_TOO_LARGE = f"the answer's body has more than {BODY_BYTES_MAX} bytes"


def is_packed(encoding: str) -> bool:
    """Whether a Content-Encoding is one that `read` unpacks."""
    return encoding.strip().lower() in _WINDOWS


def read(more: Callable[[int], bytes], encoding: str = "") -> bytes:
    """Everything that `more(at_most)` gives until it gives nothing, unpacked; NoAnswer if it is too much or broken."""
    unpacker = _Unpacker(_WINDOWS[encoding.strip().lower()]) if encoding else None
    chunks, size, packed_size = [], 0, 0
    while packed := more(_READ_BYTES):
        packed_size += len(packed)
        for chunk in unpacker.unpack(packed) if unpacker else (packed,):
            size += len(chunk)
            chunks.append(chunk)
            if size > BODY_BYTES_MAX:
                raise NoAnswer(_TOO_LARGE)
        if packed_size > BODY_BYTES_MAX:
            raise NoAnswer(_TOO_LARGE)
    if unpacker and packed_size and not unpacker.finished:
        raise NoAnswer("the answer's body ends in the middle")
    return b"".join(chunks)


class _Unpacker:
    """One body; gzip may have several members."""

    def __init__(self, window: int) -> None:
        self._window = window
        self._stream = zlib.decompressobj(window)
        self._begun = False  # the stream has taken something

    @property
    def finished(self) -> bool:
        """Whether a whole stream has been seen, and nothing of another."""
        return self._stream.eof or not self._begun

    def unpack(self, packed: bytes) -> Iterator[bytes]:
        """Pieces of at most _PIECE_BYTES: whoever takes them may stop."""
        while True:
            piece = self._piece(packed)
            yield piece
            packed = self._stream.unconsumed_tail
            if self._stream.eof:
                packed = self._stream.unused_data
                if self._window != _GZIP or not packed.startswith(_MEMBER):
                    return  # what follows is padding
                self._stream, self._begun = zlib.decompressobj(_GZIP), False
            elif not packed and len(piece) < _PIECE_BYTES:
                return

    def _piece(self, packed: bytes) -> bytes:
        begun, self._begun = self._begun, True
        try:
            return self._stream.decompress(packed, _PIECE_BYTES)
        except zlib.error:
            if begun or self._window != _DEFLATE:
                raise NoAnswer("the answer's body is not packed as it says") from None
        self._window, self._stream = _BARE, zlib.decompressobj(_BARE)  # some servers leave out zlib's head
        return self._piece(packed)
