"""What lies on disk as the files of a version: one Lua file, or a folder with `main.lua`.

Owns: which files belong to it, and how they are packed. Nothing is followed out of the folder, nothing is guessed:
what cannot be uploaded is refused by name before anything is sent.
"""

import gzip
import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from picloud.errors import PicloudError
from picloud.manager import archive
from picloud.manager.files import DEPTH_MAX, ENTRY, FILES_MAX, SOURCE_BYTES_MAX, Collector
from picloud.model import is_script_name

NAME_RULE = "lower-case letters, digits and '-', no '-' first, at most 63"
_LARGEST_SHOWN = 3


class Refused(PicloudError):
    """This cannot be uploaded."""


@dataclass(frozen=True, slots=True)
class Source:
    """The files of one version, read."""

    path: Path  # as it was given: what a person finds again
    files: dict[str, bytes]  # path in the bundle → text, sorted
    is_folder: bool

    @property
    def size(self) -> int:
        """Of all files together."""
        return sum(map(len, self.files.values()))

    def origin(self, file: str) -> Path:
        """Where a file of the version lies on disk."""
        return self.path / file if self.is_folder else self.path

    def upload(self) -> tuple[bytes, str]:
        """The body of an upload and its content type."""
        return (packed(self.files), "application/gzip") if self.is_folder else (self.files[ENTRY], "text/x-lua")


def read_source(path: Path, within: Path | None = None) -> Source:
    """Read a Lua file or a folder with main.lua; Refused.

    `within`: the folder, as os.path.realpath has it, out of which no link may lead.
    """
    is_folder = path.is_dir()
    files = dict(sorted(_folder(path, within))) if is_folder else {ENTRY: _single(path, within)}
    source = Source(path, files, is_folder)
    if source.size > SOURCE_BYTES_MAX:
        raise Refused(f"{path} has {source.size} bytes, at most {SOURCE_BYTES_MAX} are taken{_largest(source)}")
    return source


def packed(files: dict[str, bytes]) -> bytes:
    """A tar.gz that depends on nothing but the names and the bytes of the files."""
    return gzip.compress(archive.pack(files), mtime=0)


def script_name_of(path: Path) -> str:
    """The script that a file or folder is for: its name as it was given, in lower case; Refused.

    What separates words is a '-'; nothing is left out or cut. A link is a name, too:
    `current` stays `current`, wherever it leads today.
    """
    whole = Path(os.path.abspath(path))  # noqa: PTH100 - Path.resolve would follow links, Path.absolute keeps '..'
    text = whole.name if path.is_dir() else whole.stem
    name = re.sub(r"[ _.-]+", "-", text.lower()).strip("-")
    if not is_script_name(name):
        advice = "rename it, or say --name NAME to 'picloud deploy'"
        raise Refused(f"no script can be named after '{path.name}', a name has {NAME_RULE}: {advice}")
    return name


def new_script_name(text: str) -> str:
    """The name that somebody chose, if a script may have it; Refused says what a name may be."""
    if not is_script_name(text):
        raise Refused(f"{text!r} cannot be a script's name: {NAME_RULE}")
    return text


def _single(path: Path, within: Path | None) -> bytes:
    if path.suffix != ".lua":
        raise Refused(f"{path} is no Lua file: a file's name ends in .lua, and a folder holds a {ENTRY}")
    return read_file(path, within)


def _folder(root: Path, within: Path | None) -> Iterator[tuple[str, bytes]]:
    try:
        (root / ENTRY).stat()
    except FileNotFoundError:
        raise Refused(f"{root} has no {ENTRY}, which is where a script begins") from None
    except OSError as error:
        raise Refused(f"{root / ENTRY}: {error.strerror}") from error
    for number, path in enumerate(_regular_files(root), 1):
        if number > FILES_MAX:
            raise Refused(f"{root} has more than {FILES_MAX} files, which is the limit; hidden ones do not count")
        yield _name_in(root, path), read_file(path, within)


def _regular_files(root: Path) -> Iterator[Path]:
    folders = [root]
    while folders:
        folder = folders.pop()
        if len(folder.relative_to(root).parts) > DEPTH_MAX:
            raise Refused(f"{root} has folders that are more than {DEPTH_MAX} deep, which is the limit")
        for entry in _entries(folder):
            path = Path(entry.path)
            if entry.is_dir(follow_symlinks=False):
                folders.append(path)
            elif entry.is_file(follow_symlinks=False):
                yield path
            else:
                raise Refused(f"{path} is {_kind(path)}: a bundle takes regular files only")


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    """All that are not hidden."""
    try:
        with os.scandir(folder) as entries:
            return sorted((it for it in entries if not it.name.startswith(".")), key=lambda it: it.name)
    except OSError as error:
        raise Refused(f"{folder}: {error.strerror}") from error


def _name_in(root: Path, path: Path) -> str:
    """As the server has it, by the server's rules; InvalidRequest."""
    return Collector().checked(str(PurePosixPath(path.relative_to(root))))


def read_file(path: Path, within: Path | None = None) -> bytes:
    """What a regular file holds that is not larger than all files of a version may be; Refused."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # a FIFO must not keep us waiting
    except OSError as error:
        raise Refused(f"{path}: {error.strerror}") from error
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise Refused(f"{path} is no regular file")
        if within and not _opened(descriptor).is_relative_to(within):
            raise Refused(f"{path} is a link that leads out of {within}: what is watched stays in its folder")
        if status.st_size > SOURCE_BYTES_MAX:
            raise Refused(f"{path} has {status.st_size} bytes, at most {SOURCE_BYTES_MAX} are taken")
        return file.read()


def _opened(descriptor: int) -> Path:
    """Where the file lies that was opened: to ask before would be to ask of another."""
    return Path(f"/proc/self/fd/{descriptor}").readlink()


def _kind(path: Path) -> str:
    mode = path.lstat().st_mode
    kinds = ((stat.S_ISLNK, "a symbolic link"), (stat.S_ISFIFO, "a named pipe"), (stat.S_ISSOCK, "a socket"))
    return next((words for test, words in kinds if test(mode)), "a device")


def _largest(source: Source) -> str:
    if not source.is_folder:
        return ""
    largest = sorted(source.files.items(), key=lambda item: -len(item[1]))[:_LARGEST_SHOWN]
    return "; the largest: " + ", ".join(f"{name} ({len(text)})" for name, text in largest)
