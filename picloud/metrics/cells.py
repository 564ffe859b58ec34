"""One file of numbers in shared memory: who has it open changes them, others read them at any time.

Owns: the form of the file, which is that of prometheus_client's multiprocess mode (`mmap_dict`); a test holds the two
together. A number is changed by one store of 16 bytes, aligned: a reader sees it before or after, and nothing between.

Room is taken from the file system before it is used: where none is left, a store to shared memory would be a signal
that ends the process. New cells are then not to be had; those that are there go on.
"""

import json
import mmap
import os
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path

_FIRST_BYTES = 16 * 1024
_HEAD_BYTES = 8  # how many bytes are used, and padding
_VALUE_BYTES = 16  # the number, and when it was written: always 0
NOWHERE = 0  # a cell that is not

_integer = struct.Struct("i")
_double = struct.Struct("d")
_value = struct.Struct("dd")


class Cells:
    """A new file, and what is in it. For one thread at a time."""

    def __init__(self, path: Path) -> None:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            os.posix_fallocate(descriptor, 0, _FIRST_BYTES)
            self._memory = mmap.mmap(descriptor, _FIRST_BYTES)
        except BaseException:
            os.close(descriptor)
            raise
        self._descriptor = descriptor
        self._used = 0
        self._use(_HEAD_BYTES)

    def new(self, metric: str, sample: str, labels: Mapping[str, str], number: float = 0.0) -> int:
        """A cell → where it is; NOWHERE: there is no room left."""
        return self.put(json.dumps([metric, sample, labels, ""], sort_keys=True).encode(), number)

    def put(self, key: bytes, number: float) -> int:
        """The same for a key that was read."""
        padding = _padding(len(key))
        end = self._used + _integer.size + len(key) + padding + _VALUE_BYTES
        if not self._has_room(end):
            return NOWHERE
        self._memory[self._used : end] = _integer.pack(len(key)) + key + b" " * padding + _value.pack(number, 0.0)
        self._use(end)
        return end - _VALUE_BYTES

    def add(self, at: int, amount: float) -> None:
        """Make a number larger."""
        if at != NOWHERE:
            memory = self._memory
            memory[at : at + _VALUE_BYTES] = _value.pack(_double.unpack_from(memory, at)[0] + amount, 0.0)

    def set(self, at: int, number: float) -> None:
        """Put another number there."""
        if at != NOWHERE:
            self._memory[at : at + _VALUE_BYTES] = _value.pack(number, 0.0)

    def close(self) -> None:
        """The file stays."""
        self._memory.close()
        os.close(self._descriptor)

    def _use(self, end: int) -> None:
        self._used = end
        self._memory[: _integer.size] = _integer.pack(end)

    def _has_room(self, end: int) -> bool:
        size = len(self._memory)
        if end <= size:
            return True
        try:
            os.posix_fallocate(self._descriptor, size, size)
        except OSError:
            return False
        self._memory.resize(2 * size)
        return True


def read(path: Path) -> Iterator[tuple[bytes, float]]:
    """Every key of a file with its number."""
    data = path.read_bytes()
    at, end = _HEAD_BYTES, _integer.unpack_from(data)[0]
    while at < end:
        begin, length = at + _integer.size, _integer.unpack_from(data, at)[0]
        number_at = begin + length + _padding(length)
        yield data[begin : begin + length], _double.unpack_from(data, number_at)[0]
        at = number_at + _VALUE_BYTES


def _padding(length: int) -> int:
    """Behind a key, so that its number is aligned; never none."""
    return 8 - (length + _integer.size) % 8


def labels_of(key: bytes) -> dict[str, str]:
    """What tells a key's number from others of its series."""
    labels: dict[str, str] = json.loads(key)[2]
    return labels
