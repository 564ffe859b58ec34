"""Values sealed with a key that lies in a file and never in the database: who has one of the two has nothing.

Owns: the key file (its form, who may read it, how it changes) and the sealing: Fernet, which is AES-128-CBC with
HMAC-SHA-256. The only home of cryptography. Knows nothing of where sealed values are kept.

The file holds one key a line. The first one seals, each of them opens; so a new key is put before the old one, and
the old one goes once nothing is sealed with it any more. A file is replaced whole, never written into.
A value is sealed with its name: moved to another name, it does not open.
"""

import base64
import binascii
import contextlib
import fcntl
import hmac
import os
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path

from cryptography.fernet import Fernet, InvalidToken, MultiFernet

from picloud.errors import ConfigurationError, PlatformError

_FILE_BYTES_MAX = 64 * 1024
_KEY_BYTES = 32
_FINGERPRINT_OF = b"which of PiCloud's keys this is"
_FINGERPRINT_BYTES = 8
_OF_SYSTEMD = 0o440  # of a credential: root's, and an entry of its ACL, which shows as its group, for who runs the unit


class CannotOpen(PlatformError):
    """A value was sealed with a key that is not in the key file here."""


class KeyFile:
    """The keys of one file. They are read when they are needed, and anew when a value does not open with them.

    Safe for threads. ConfigurationError from any method if the file cannot be used; no message holds a key or a value.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._keys: MultiFernet | None = None  # those that were read last

    def seal(self, name: str, value: str) -> str:
        """Seal a value with what is the first key now."""
        return self._read().encrypt(_bound(name, value)).decode()

    def open(self, name: str, sealed: str) -> str:
        """The value; CannotOpen."""
        with contextlib.suppress(CannotOpen):
            return _opened(self._keys or self._read(), name, sealed)
        return _opened(self._read(), name, sealed)

    def reseal(self, name: str, sealed: str) -> str:
        """The same value, sealed with what is the first key now; CannotOpen."""
        return self.seal(name, self.open(name, sealed))

    def check(self) -> None:
        """Raise if the file cannot be used."""
        self._read()

    def fingerprints(self) -> list[str]:
        """What tells each key from others, in the file's order; nobody learns a key from it."""
        return [hmac.digest(key, _FINGERPRINT_OF, "sha256")[:_FINGERPRINT_BYTES].hex() for key in _keys_in(self._path)]

    def create(self) -> None:
        """Make the file with a first key, unless it is there."""
        with self.locked():
            if not self._path.exists():
                self._replace([Fernet.generate_key()])

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Nobody else changes the file in this block."""
        folder = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(folder, fcntl.LOCK_EX)
            yield
        finally:
            os.close(folder)

    def add(self) -> Sequence[bytes]:
        """Put a new key before those that are there → those; within `locked`."""
        old = _keys_in(self._path)
        self._replace([Fernet.generate_key(), *old])
        return old

    def drop(self, old: Sequence[bytes]) -> None:
        """Take keys out of the file; within `locked`."""
        self._replace([key for key in _keys_in(self._path) if key not in old])

    def _read(self) -> MultiFernet:
        self._keys = keys = MultiFernet([Fernet(key) for key in _keys_in(self._path)])
        return keys

    def _replace(self, keys: Sequence[bytes]) -> None:
        """The file has either the old keys or the new ones, whenever the power fails."""
        new = self._path.with_name(f"{self._path.name}.new")
        with _said_of(new):
            new.unlink(missing_ok=True)
            descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                if self._path.exists():
                    _own_alike(file.fileno(), self._path)
                file.write(b"".join(key + b"\n" for key in keys))
                file.flush()
                os.fsync(file.fileno())
            new.replace(self._path)
            _sync_folder(self._path.parent)


def _bound(name: str, value: str) -> bytes:
    return name.encode() + b"\0" + value.encode()  # no name has a NUL


def _opened(keys: MultiFernet, name: str, sealed: str) -> str:
    try:
        bound = keys.decrypt(sealed.encode())
    except InvalidToken:
        raise CannotOpen from None
    of, _, value = bound.partition(b"\0")
    if of != name.encode():
        raise CannotOpen("a sealed value stands under a name that is not its own")
    return value.decode()


def _keys_in(path: Path) -> list[bytes]:
    with _said_of(path), path.open("rb") as file:
        _require_private(os.fstat(file.fileno()), path)
        keys = file.read(_FILE_BYTES_MAX).split()
    if not keys or not all(map(_is_key, keys)):
        raise ConfigurationError(f"{path} holds no keys: one a line, 32 bytes in base64url each")
    return keys


def _is_key(text: bytes) -> bool:
    try:
        return len(base64.urlsafe_b64decode(text)) == _KEY_BYTES
    except (binascii.Error, ValueError):
        return False


def _require_private(found: os.stat_result, path: Path) -> None:
    """ConfigurationError if anybody but its owner, or root, can read a file."""
    mode = stat.S_IMODE(found.st_mode)
    if not mode & 0o077 or (mode == _OF_SYSTEMD and found.st_uid == found.st_gid == 0):
        return
    raise ConfigurationError(f"{path} can be read or written by others (mode {mode:04o}): chmod 600 '{path}'")


@contextlib.contextmanager
def _said_of(path: Path) -> Iterator[None]:
    """What the system refuses, in words for who runs this."""
    try:
        yield
    except FileNotFoundError:
        raise ConfigurationError(f"{path} is missing: it holds the key that secrets are sealed with") from None
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be used: {error.strerror}") from error


def _own_alike(descriptor: int, path: Path) -> None:
    """Who replaces the file as root leaves it to whom it belongs."""
    now, then = os.fstat(descriptor), path.stat()
    if (now.st_uid, now.st_gid) != (then.st_uid, then.st_gid):
        os.fchown(descriptor, then.st_uid, then.st_gid)


def _sync_folder(path: Path) -> None:
    folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
