"""The files of a version: which paths they may have, how many there may be, and how large.

Owns: these rules, whatever the files came in. Nothing is repaired beyond a leading `./`; what is refused is named.
"""

import unicodedata

from picloud.errors import BodyTooLarge, InvalidRequest

ENTRY = "main.lua"
FILES_MAX = 100  # of a version
SOURCE_BYTES_MAX = 1024 * 1024  # all files together
PATH_BYTES_MAX = 255
DEPTH_MAX = 16  # folders and the file's own name

_UNSEEN = ("Cc", "Cf", "Cs", "Zl", "Zp")  # Unicode: control, format (names that look the same), surrogate, line ends
_SHOWN_CHARACTERS = 120


class Collector:
    """Takes files one by one and refuses the first that may not be: InvalidRequest, or BodyTooLarge for a size."""

    def __init__(self, field: str = "") -> None:
        self._field = field  # in front of a path where an error names the field
        self._files: dict[str, bytes] = {}
        self._folders: set[str] = set()
        self._bytes = 0

    def add(self, name: str, content: bytes) -> None:
        """Take a file."""
        path = self.checked(name)
        if path in self._files:
            raise self.refusal(name, "it is there twice")
        if path in self._folders:
            raise self.refusal(name, "it is a file and a folder at once")
        self._enter(name, path.split("/")[:-1])
        self._files[path] = content
        self._bytes += len(content)
        if len(self._files) > FILES_MAX:
            raise self.refusal(name, f"it is one more than the {FILES_MAX} files that are taken")
        if self._bytes > SOURCE_BYTES_MAX:
            raise BodyTooLarge(f"with {_shown(name)} the files have over {SOURCE_BYTES_MAX} bytes, which is the limit")

    def add_folder(self, name: str) -> None:
        """Take note of a folder; it is not kept. Only `./` may be the root itself."""
        if name.rstrip("/") != ".":
            self._enter(name, self.checked(name.removesuffix("/")).split("/"))

    def whole(self) -> dict[str, bytes]:
        """All that was taken; InvalidRequest without a main.lua."""
        if ENTRY not in self._files:
            deeper = sorted(path for path in self._files if path.endswith("/" + ENTRY))
            found = f"; there is {_shown(deeper[0])}: pack what is inside its folder" if deeper else ""
            raise self.refusal(ENTRY, f"there is no file of this name at the top{found}")
        return self._files

    def checked(self, name: str) -> str:
        """A file's path, without a leading `./`; InvalidRequest."""
        path = name
        while path.startswith("./"):
            path = path[2:]
        if reason := _wrong_with(path):
            raise self.refusal(name, reason)
        return path

    def refusal(self, name: str, reason: str) -> InvalidRequest:
        """What to raise over a file."""
        shown = _shown(name)
        return InvalidRequest(f"{shown}: {reason}", [{"field": self._field + shown.strip("'\""), "message": reason}])

    def _enter(self, name: str, parts: list[str]) -> None:
        for depth in range(len(parts)):
            folder = "/".join(parts[: depth + 1])
            if folder in self._files:
                raise self.refusal(name, f"{_shown(folder)} is a file and a folder at once")
            self._folders.add(folder)


def _wrong_with(path: str) -> str:
    """Why a file may not have this path; empty if it may."""
    if not path:
        return "a name is empty"
    if any(unicodedata.category(character) in _UNSEEN for character in path):
        return "the name has a character that cannot be seen, or that is none"
    if not unicodedata.is_normalized("NFC", path):
        return "the name is not in Unicode's form NFC"
    if len(path.encode()) > PATH_BYTES_MAX:
        return f"the path has more than {PATH_BYTES_MAX} bytes"
    return _wrong_with_parts(path)


def _wrong_with_parts(path: str) -> str:
    parts = path.split("/")
    if "\\" in path:
        return "the name has a backslash; folders are separated by '/'"
    if path.startswith("/"):
        return "the path is absolute; it must start in the bundle"
    if {"", ".", ".."} & set(parts):
        return "the path has an empty part, '.' or '..'"
    if len(parts) > DEPTH_MAX:
        return f"the path is more than {DEPTH_MAX} deep"
    return ""


def _shown(name: str) -> str:
    """A name for people, whatever is in it; long ones cut."""
    return repr(name if len(name) <= _SHOWN_CHARACTERS else name[:_SHOWN_CHARACTERS] + "…")
