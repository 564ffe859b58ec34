"""The first administrator: a token that is shown once, and of which the database keeps a digest."""

import socket
from datetime import UTC, datetime

from picloud.installation.machine import CannotSee, Machine
from picloud.installation.places import CURRENT, SETTINGS, USER
from picloud.installation.releases import Release, led_to
from picloud.installation.steps import Change, News, Order

_AS_USER = ("setpriv", f"--reuid={USER}", f"--regid={USER}", "--init-groups", "--inh-caps=-all", "--")


def first_token(machine: Machine, order: Order) -> News:
    """Somebody may administer."""
    if not machine.is_root:
        raise CannotSee("the database tells root alone")
    release = led_to(machine, CURRENT)
    if release is None or not asked(machine, release, "has-admin"):
        yield Change(
            "make the first admin token; it is shown now, and never again",
            lambda: order.show(new_token(machine)),
        )


def new_token(machine: Machine) -> str:
    """The secret of another admin token."""
    name = f"admin@{socket.gethostname()} {datetime.now(UTC):%Y-%m-%dT%H:%M:%S.%fZ}"
    release = led_to(machine, CURRENT)
    if release is None:
        raise CannotSee("no PiCloud is installed here: sudo make install")
    return asked(machine, release, "token", name, changes=True)


def asked(machine: Machine, release: Release, *words: str, changes: bool = False) -> str:
    """What a release says to a question of `picloud.installation.asked`, as the user that it runs as."""
    run = machine.do if changes else machine.ask
    program = (release.program("python"), "-I", "-m", "picloud.installation.asked")
    return run(*_AS_USER, *program, *words, env={"PICLOUD_CONFIG": str(SETTINGS)})
