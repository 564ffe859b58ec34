"""Scripts, their versions, how one comes to be, and the routes that lead there."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from picloud.model.settings import Settings

SCRIPT_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")


def is_script_name(text: str) -> bool:
    """Whether a script may have this name."""
    return SCRIPT_NAME.fullmatch(text) is not None


@dataclass(frozen=True, slots=True)
class Script:
    """A named program with its active version."""

    name: str
    active_version: int
    settings: Settings
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class Version:
    """One immutable upload."""

    script: str
    version: int
    sha256: str  # hex: of the source if it is one file, else of all paths and contents
    bytes: int
    created_at: datetime
    created_by: str  # the token's name


@dataclass(frozen=True, slots=True)
class Program:
    """One version of a script, ready to run."""

    script: str
    version: int
    files: Mapping[str, bytes]  # path → text; `main.lua` is the entry
    settings: Settings
    script_id: int = 0  # of the script that has the name now; a later one of the same name has another


@dataclass(frozen=True, slots=True)
class Condition:
    """What must be so of a script for a change to happen."""

    active_versions: frozenset[int] | None = None  # one of these is active
    create_only: bool = False  # there is no such script
    update_only: bool = False  # there is one


ANYWAY = Condition()


@dataclass(frozen=True, slots=True)
class Upload:
    """Files to be a new version."""

    files: Mapping[str, bytes]  # path → content; `main.lua` is the entry
    sha256: str  # of all of them
    created_by: str  # the token's name
    activate: bool = True


@dataclass(frozen=True, slots=True)
class Uploaded:
    """What became of an upload."""

    version: int
    active_version: int
    created: bool  # False: the active version has the same files


@dataclass(frozen=True, slots=True)
class SyntaxProblem:
    """Why a file of a version does not compile."""

    file: str
    line: int
    message: str  # Lua's, without the position


@dataclass(frozen=True, slots=True)
class Route:
    """(method, host, path pattern) → script."""

    id: int
    method: str  # or ANY
    host: str | None  # None: every host
    path: str  # a pattern, see picloud.patterns
    script: str
