"""What an installation consists of, in order, and the run through it.

What can fail without a trace comes first: a release that does not start is found out after the database is there and
before the site is. The token comes last: nobody sees it before PiCloud answers.
"""

import fcntl
import os
from collections.abc import Callable, Sequence
from pathlib import Path

from picloud.errors import PlatformError
from picloud.installation import accounts, caddy, configuration, migrations, postgres, releases, services, tokens
from picloud.installation.machine import CannotSee, CommandFailed, Machine
from picloud.installation.places import HOME, RELEASES
from picloud.installation.steps import Change, News, Order, Step

Say = Callable[[str], None]


def _old_releases(machine: Machine, _order: Order) -> News:
    """The release in use and the one before are kept."""
    if old := releases.prune(machine):
        yield Change(f"remove releases: {', '.join(old)}", lambda: _remove(machine, old))


STEPS: Sequence[tuple[str, Step]] = (
    ("users", accounts.users),
    ("folders", accounts.folders),
    ("database", postgres.database),
    ("settings", configuration.settings_file),
    ("key of secrets", configuration.secret_key),
    ("tuning", postgres.tuning),
    ("migrations", migrations.pending),
    ("command", configuration.command),
    ("units", services.units),
    ("release", services.release),
    ("site", caddy.site),
    ("old releases", _old_releases),
    ("first token", tokens.first_token),
)


def check(machine: Machine, order: Order, say: Say) -> None:
    """Say what an installation would do; PlatformError on a machine that systemd does not run."""
    _require_systemd(machine)
    for name, step in STEPS:
        news = False
        try:
            for it in step(machine, order):
                news = True
                say(f"{name}: would {it.what}" if isinstance(it, Change) else f"{name}: {it.text}")
        except (CannotSee, CommandFailed) as error:  # a package may be missing yet
            say(f"{name}: {error}")
            continue
        if not news:
            say(f"{name}: as it should be")


def install(machine: Machine, order: Order, say: Say) -> None:
    """Do it, and say what is done; PlatformError says what could not be, and all before it stays."""
    require_ground(machine)
    with_lock()
    for name, step in STEPS:
        news = False
        for it in step(machine, order):
            news = True
            say(f"{name}: {it.what if isinstance(it, Change) else it.text}")
            if isinstance(it, Change):
                it.make()
        if not news:
            say(f"{name}: as it should be")


def require_ground(machine: Machine) -> None:
    """PlatformError unless this is root's, on a machine that systemd runs."""
    if not machine.is_root:
        raise PlatformError("only root can do this: put sudo before it")
    _require_systemd(machine)


def _require_systemd(machine: Machine) -> None:
    if not machine.has("/run/systemd/system"):
        raise PlatformError("systemd does not run this machine; 'picloud up' starts PiCloud in the foreground")


def with_lock() -> None:
    """Nobody else installs until this process ends; PlatformError if somebody does."""
    HOME.mkdir(mode=0o755, parents=True, exist_ok=True)
    lock = os.open(HOME, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise PlatformError("another installation is under way: wait for its end") from error


def _remove(machine: Machine, names: Sequence[str]) -> None:
    for name in names:
        machine.remove(RELEASES / name)


def shipped(machine: Machine) -> tuple[releases.Release | None, Path]:
    """The release that this program is of, and the folder of what it brings; in a checkout, the checkout."""
    found = releases.mine(machine)
    return found, found.shipped() if found else Path(__file__).parents[2]
