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
    """Forbidden: what a token or a signature guards, no script opens to everybody by having it run."""
    settings = program.settings
    is_guarded = settings.access is Access.TOKEN or settings.webhook is not None
    if is_guarded and program.script not in (asking.script, *asking.settings.invoke):
        wanted = "signed deliveries" if settings.webhook else "a token"
        raise Forbidden(f"'{program.script}' wants {wanted}: to invoke it, this script's setting `invoke` must name it")
