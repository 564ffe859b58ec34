"""All of it away again: `python3 -m picloud.installation.removal [--purge]`, which `make uninstall` runs.

What an operator would miss stays: the state, the settings with the key, the database, the users. `--purge` takes these,
too. It wants nothing but Python's own library: it works also where an installation was broken off.
"""

import sys
from collections.abc import Callable, Sequence

from picloud.errors import PicloudError
from picloud.installation import accounts, caddy, postgres
from picloud.installation.machine import CommandFailed, Machine
from picloud.installation.places import (
    COMMAND,
    CONFIGURATION,
    DATABASE,
    HOME,
    HTTP_GROUP,
    RUN,
    RUN_EXECUTOR,
    RUN_EXECUTOR_ROOT,
    SANDBOX_USER,
    STATE,
    SYSUSERS,
    TMPFILES,
    UNITS,
    USER,
)
from picloud.installation.units import unit_files

Say = Callable[[str], None]


def uninstall(machine: Machine, say: Say, *, purge: bool) -> None:
    """Remove PiCloud; with `purge`, all that it ever kept. PlatformError if something cannot be removed."""
    _services(machine, say)
    if machine.has("/usr/bin/caddy"):
        caddy.restore(machine)
        say("caddy: as it was before")
    if purge:
        _data(machine, say)
    for path in (COMMAND, TMPFILES, SYSUSERS, HOME):
        machine.remove(path)
    say(f"code: {HOME} and {COMMAND} are removed")
    if not purge:
        say(f"kept: {STATE}, {CONFIGURATION}, the database {DATABASE} and the users; PURGE=1 removes them, too")


def _services(machine: Machine, say: Say) -> None:
    names = [path.name for path in unit_files(machine.path(UNITS))]
    if names:
        machine.do("systemctl", "disable", "--quiet", "--now", *names)
    for name in names:
        machine.remove(UNITS / name)
    machine.do("systemctl", "daemon-reload")
    for folder in (RUN, RUN_EXECUTOR, RUN_EXECUTOR_ROOT):
        machine.remove(folder)
    say("services: stopped and removed")


def _data(machine: Machine, say: Say) -> None:
    try:
        postgres.drop(machine)
        say(f"database: {DATABASE} is dropped")
    except CommandFailed as error:  # there may be no PostgreSQL any more
        say(f"database: {error}")
    for path in (CONFIGURATION, STATE):
        machine.remove(path)
    for name in filter(accounts.has_user, (USER, SANDBOX_USER)):
        machine.do("userdel", name)
    for name in filter(accounts.has_group, (HTTP_GROUP, USER, SANDBOX_USER)):
        machine.do("groupdel", name)
    say(f"data: {STATE} and {CONFIGURATION} are removed, and so are the users")


def main(words: Sequence[str]) -> int:
    """Remove it from this machine."""
    machine = Machine()
    if not machine.is_root:
        sys.stderr.write("error: only root can uninstall: sudo make uninstall\n")
        return 1
    try:
        uninstall(machine, _say, purge="--purge" in words)
    except (PicloudError, OSError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    return 0


def _say(text: str) -> None:
    print(text, flush=True)  # noqa: T201 - there may be no click any more


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
