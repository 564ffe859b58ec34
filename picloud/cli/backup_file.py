"""A backup as a file: a tar of what is in it, what it is said to be, the dump, the configuration, and their checksums.

Owns: the file's form. Whatever reads it takes every byte for hostile: a file is checked whole before anything is done
with it. Knows nothing of PostgreSQL: a dump is bytes.
"""

import hashlib
import os
import tarfile
from collections.abc import Iterable, Iterator
from datetime import datetime
from pathlib import Path
from typing import IO

import msgspec

from picloud import __version__
from picloud.errors import PlatformError

FORMAT = 1
MANIFEST, DUMP, CONFIG, SUMS = "manifest.json", "database.dump", "picloud.toml", "SHA256SUMS"
_NAMES = (MANIFEST, DUMP, CONFIG, SUMS)

_BLOCK = tarfile.BLOCKSIZE
_CHUNK_BYTES = 1024 * 1024
_SMALL_BYTES_MAX = 1024 * 1024  # of everything but the dump


class Damaged(PlatformError):
    """This is no backup of PiCloud, or not a whole one."""


class Key(msgspec.Struct, frozen=True):
    """Which key secrets are sealed with. `fingerprints`: of each that the file held; none: it could not be read."""

    file: str
    fingerprints: list[str]


class Manifest(msgspec.Struct, frozen=True):
    """What a backup says of itself. `picloud`: the version that made it; `schema`: the last migration that its database
    had; `postgres`, `pg_dump`: versions; `rows`: table → how many.
    """

    format: int
    picloud: str
    schema: str
    taken_at: datetime
    postgres: str
    pg_dump: str
    key: Key
    rows: dict[str, int]


class _Form(msgspec.Struct):
    format: int
    picloud: str


class Writer:
    """Writes a backup into an empty file that can be wound back."""

    def __init__(self, file: IO[bytes], taken_at: datetime) -> None:
        self._file = file
        self._mtime = int(taken_at.timestamp())
        self._sums: list[str] = []

    def add(self, name: str, chunks: Iterable[bytes]) -> None:
        """Append one member; how long it is shows at its end."""
        start = self._file.tell()
        self._file.write(bytes(_BLOCK))
        digest, size = hashlib.sha256(), 0
        for chunk in chunks:
            digest.update(chunk)
            size += len(chunk)
            self._file.write(chunk)
        self._file.write(bytes(-size % _BLOCK))
        end = self._file.tell()
        self._file.seek(start)
        self._file.write(self._header(name, size))
        self._file.seek(end)
        self._sums.append(f"{digest.hexdigest()}  {name}\n")

    def close(self) -> None:
        """Append the checksums, which end it."""
        self.add(SUMS, ["".join(self._sums).encode()])
        self._file.write(bytes(2 * _BLOCK))
        self._file.flush()

    def _header(self, name: str, size: int) -> bytes:
        info = tarfile.TarInfo(name)
        info.size, info.mode, info.mtime = size, 0o600, self._mtime
        return info.tobuf(tarfile.GNU_FORMAT)  # one block, whatever the size


class Backup:
    """A backup that was looked through: `manifest`, `config` (its picloud.toml, if any), and the dump.

    Damaged if it is none, or not whole; PlatformError if a newer PiCloud made it.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._places: dict[str, tuple[int, int]] = {}  # name → where it begins, how long it is
        digests = {name: self._digest(name) for name in self._look()}
        sums = [f"{digest}  {name}\n" for name, digest in digests.items() if name != SUMS]
        if "".join(sums).encode() != self._small(SUMS):
            raise Damaged("this backup is damaged: its contents are not those that its checksums are of")
        if not {MANIFEST, DUMP} <= {*digests}:
            raise Damaged
        self.manifest = _manifest(self._small(MANIFEST))
        self.config = self._small(CONFIG).decode(errors="replace") if CONFIG in digests else None

    def dump(self) -> Iterator[bytes]:
        """The dump's bytes."""
        return self._chunks(DUMP)

    def _look(self) -> Iterator[str]:
        """Name after name, up to the checksums, behind which there must be nothing."""
        size = os.fstat(self._file.fileno()).st_size
        place = 0
        while SUMS not in self._places:
            self._file.seek(place)
            name, length = _read_header(self._file.read(_BLOCK))
            place += _BLOCK
            end = place + length + -length % _BLOCK
            if name in self._places or end + 2 * _BLOCK > size or (name != DUMP and length > _SMALL_BYTES_MAX):
                raise Damaged("this backup is not whole: it ends too early, or never was one")
            self._places[name] = (place, length)
            place = end
            yield name
        if place + 2 * _BLOCK != size:
            raise Damaged("there is something behind the end of this backup")

    def _digest(self, name: str) -> str:
        digest = hashlib.sha256()
        for chunk in self._chunks(name):
            digest.update(chunk)
        return digest.hexdigest()

    def _small(self, name: str) -> bytes:
        return b"".join(self._chunks(name))

    def _chunks(self, name: str) -> Iterator[bytes]:
        place, left = self._places[name]
        while left:
            self._file.seek(place)
            chunk = self._file.read(min(_CHUNK_BYTES, left))
            if not chunk:
                raise Damaged("this backup became shorter while it was read")
            yield chunk
            place, left = place + len(chunk), left - len(chunk)


def encoded(manifest: Manifest) -> bytes:
    """The manifest as it stands in a backup."""
    return msgspec.json.format(msgspec.json.encode(manifest), indent=2) + b"\n"


def open_backup(path: Path) -> IO[bytes]:
    """The file, to be read; PlatformError says why it cannot be."""
    try:
        file = path.open("rb")
    except OSError as error:
        raise PlatformError(f"{path}: {error.strerror}") from error
    if not file.seekable():
        file.close()
        raise PlatformError(f"{path} must be a file")
    return file


def _read_header(block: bytes) -> tuple[str, int]:
    """One member's name and length; Damaged if it is not one of ours."""
    try:
        info = tarfile.TarInfo.frombuf(block, "utf-8", "strict")
    except (tarfile.TarError, UnicodeError, ValueError) as error:
        raise Damaged from error
    if info.type != tarfile.REGTYPE or info.name not in _NAMES or info.size < 0:
        raise Damaged
    return info.name, info.size


def _manifest(text: bytes) -> Manifest:
    try:
        form = msgspec.json.decode(text, type=_Form)
        if form.format <= FORMAT and _numbers(form.picloud) <= _numbers(__version__):
            return msgspec.json.decode(text, type=Manifest)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise Damaged(f"this backup's {MANIFEST} is not valid: {error}") from error
    raise PlatformError(
        f"this backup was made by PiCloud {form.picloud}, and this is {__version__}: install that first"
    )


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))
