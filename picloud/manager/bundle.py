"""An upload's body → the files of a version, in memory.

Owns: which content types are taken as what. `files` has the rules of paths and sizes, `archive` and `json_files` the
formats. Pure: bytes in, files or an error that says what to change.
"""

import enum
import hashlib
from collections.abc import Mapping

from picloud.errors import InvalidRequest, UnsupportedMediaType
from picloud.manager import archive, json_files
from picloud.manager.files import ENTRY, SOURCE_BYTES_MAX, Collector


class Kind(enum.Enum):
    """What a body is read as."""

    LUA = "one Lua file"
    TAR = "a tar archive"
    JSON = '{"files": {PATH: TEXT}}'


FORM = "application/x-www-form-urlencoded"

MEDIA_TYPES: Mapping[str, Kind] = {
    "text/x-lua": Kind.LUA,
    "text/lua": Kind.LUA,
    "application/x-lua": Kind.LUA,
    "text/plain": Kind.LUA,
    "application/octet-stream": Kind.LUA,
    FORM: Kind.LUA,  # what curl says if nobody tells it
    "application/x-tar": Kind.TAR,
    "application/tar": Kind.TAR,
    "application/x-gtar": Kind.TAR,
    "application/gzip": Kind.TAR,
    "application/x-gzip": Kind.TAR,
    "application/x-tar+gzip": Kind.TAR,
    "application/tar+gzip": Kind.TAR,
    "application/x-compressed-tar": Kind.TAR,
    "application/json": Kind.JSON,
}

_BYTES_MAX = {
    Kind.LUA: SOURCE_BYTES_MAX,
    Kind.TAR: archive.ARCHIVE_BYTES_MAX + 4 * 1024,  # gzip adds a little to what it cannot make smaller
    Kind.JSON: json_files.JSON_BYTES_MAX,
}

_BUNDLE = b"\x1bpicloud bundle\n"  # no source begins like this: it is bytecode's first byte, which is refused


def kind_of(content_type: str, encoding: str = "") -> Kind:
    """What a body of this Content-Type and Content-Encoding is read as; UnsupportedMediaType. Neither is needed."""
    media_type = content_type.partition(";")[0].strip().lower()
    kind = MEDIA_TYPES.get(media_type) if media_type else Kind.LUA
    if kind is None:
        known = "; ".join(f"{one.value} as {', '.join(_types_of(one))}" for one in Kind)
        raise UnsupportedMediaType(f"{media_type!r} is not taken; send {known}")
    coded = encoding.strip().lower()
    if coded in ("", "identity") or (coded in ("gzip", "x-gzip") and kind is Kind.TAR):
        return kind
    raise UnsupportedMediaType(f"Content-Encoding {coded!r} is not taken here; a tar archive may be gzipped")


def body_bytes_max(kind: Kind) -> int:
    """How much of a body is worth reading: content of 1 MiB, and what its format adds."""
    return _BYTES_MAX[kind]


def read(kind: Kind, body: bytes) -> dict[str, bytes]:
    """The files of a body: path → content, `main.lua` among them. InvalidRequest, BodyTooLarge."""
    files = Collector("files." if kind is Kind.JSON else "")
    if kind is Kind.TAR:
        archive.read(body, files)
    elif kind is Kind.JSON:
        json_files.read(body, files)
    else:
        _refuse_archives(body)
        files.add(ENTRY, body)
    return files.whole()


def digest(files: Mapping[str, bytes]) -> str:
    """SHA-256 in hex: of the source, if that is all there is; else of all paths and contents, sorted and delimited."""
    if files.keys() == {ENTRY}:
        return hashlib.sha256(files[ENTRY]).hexdigest()
    whole = hashlib.sha256(_BUNDLE)
    for path in sorted(files):
        for part in (path.encode(), files[path]):
            whole.update(b"%d:" % len(part) + part)
    return whole.hexdigest()


def _refuse_archives(body: bytes) -> None:
    if archive.is_gzip(body) or archive.is_tar(body):
        kind = "gzip" if archive.is_gzip(body) else "x-tar"
        raise InvalidRequest(f"this is no Lua but an archive: send it with 'Content-Type: application/{kind}'")


def _types_of(kind: Kind) -> list[str]:
    return [name for name, its in MEDIA_TYPES.items() if its is kind]
