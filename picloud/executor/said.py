"""What a sandbox may say, and the zygote for it, as typed messages: what is left of its bytes after the check."""

from dataclasses import dataclass

from picloud.model import HeaderList, Level


@dataclass(frozen=True, slots=True)
class Accepted:
    """A sandbox has the connection; the wall clock starts."""


@dataclass(frozen=True, slots=True)
class Log:
    """One line that the script wrote."""

    level: Level
    message: str
    fields: str  # a JSON object as text, or ""


@dataclass(frozen=True, slots=True)
class Call:
    """The script wants something done that only the trusted side can do, and waits."""

    name: str
    arguments: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Answered:
    """The script's answer; everything in it is legal HTTP."""

    committed: bool  # False for `error{…}`
    retry: bool  # False for `error{retry=false, …}`
    status: int
    headers: HeaderList
    body: bytes
    cpu_us: int
    memory_bytes: int


@dataclass(frozen=True, slots=True)
class Begun:
    """The head of an answer whose body is made while it is sent, legal as `Answered`; the sandbox waits for a word."""

    status: int
    headers: HeaderList


@dataclass(frozen=True, slots=True)
class Chunk:
    """The next piece of that body."""

    piece: bytes  # not empty


@dataclass(frozen=True, slots=True)
class Ended:
    """That body is whole."""

    cpu_us: int
    memory_bytes: int


@dataclass(frozen=True, slots=True)
class Compiled:
    """Every file compiles."""


@dataclass(frozen=True, slots=True)
class Failed:
    """The script did not answer, and the sandbox knows why."""

    kind: bytes  # one of the protocol's
    message: str
    traceback: str
    file: str
    line: int
    cpu_us: int
    memory_bytes: int


@dataclass(frozen=True, slots=True)
class Died:
    """The last words, which the zygote writes."""

    signal: int  # 0 if it exited
    status: int  # of an exit
    cpu_us: int
    memory_bytes: int  # peak of the process


Message = Accepted | Call | Log | Answered | Begun | Chunk | Ended | Compiled | Failed | Died
