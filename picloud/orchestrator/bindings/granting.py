"""Which scripts a script may have run: at once, or by a job."""

from typing import Protocol

from picloud.errors import Forbidden
from picloud.model import Access, Program


class Resolver(Protocol):
    """What knows the active version of a script."""

    def resolve(self, name: str) -> Program:
        """NotFound, DatabaseUnavailable."""


def granted(resolver: Resolver, name: str, asking: Program) -> Program:
    """The active version of a script that another one may have run; NotFound, Forbidden, DatabaseUnavailable."""
    program = resolver.resolve(name)
    check(program, asking)
    return program


def check(program: Program, asking: Program) -> None:
    """Forbidden: what a token guards, no script opens to everybody by having it run."""
    if program.settings.access is Access.TOKEN and program.script not in (asking.script, *asking.settings.invoke):
        raise Forbidden(f"'{program.script}' wants a token: to invoke it, this script's setting `invoke` must name it")
