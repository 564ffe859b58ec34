"""Which program answers: a cached look-up, with no SQL on a hit.

Owns: what is cached of programs. Knows nothing of HTTP; `picloud.cache` has the rules of when an entry is wrong.
"""

from typing import Protocol

from picloud.cache import Cache, Generation
from picloud.errors import NotFound
from picloud.model import Program, is_script_name

_PROGRAMS_MAX = 512  # a version has at most 1 MiB


class ProgramSource(Protocol):
    """Where programs come from when the cache has none."""

    def program(self, name: str) -> Program | None:
        """The active version; None if there is no such script; DatabaseUnavailable."""


class Router:
    """Programs by script name. Safe for threads."""

    def __init__(self, source: ProgramSource, generation: Generation) -> None:
        self._source = source
        self.programs: Cache[str, Program] = Cache(generation, _PROGRAMS_MAX)

    def resolve(self, name: str) -> Program:
        """The program that answers for a script; NotFound, DatabaseUnavailable."""
        if not is_script_name(name):  # whoever scans for holes costs no SQL
            raise NotFound("there is no script of this name, and there cannot be one")
        program = self.programs.get(name, lambda: self._source.program(name))
        if program is None:  # not cached: names that nobody owns are endless
            raise NotFound(f"there is no script '{name}'")
        return program

    def known(self, name: str) -> Program | None:
        """The same if it is cached; never asks its source."""
        return self.programs.get(name, lambda: None)
