"""The tables of the release: its services make them when they start. They go forward only."""

from picloud.errors import ConfigurationError
from picloud.installation import tokens
from picloud.installation.machine import CommandFailed, Machine
from picloud.installation.places import CURRENT
from picloud.installation.releases import Release, led_to
from picloud.installation.steps import News, Note, Order


def pending(machine: Machine, order: Order) -> News:
    """On an upgrade, what its start will do to the tables; ConfigurationError if they are a newer release's."""
    before = led_to(machine, CURRENT)
    if before is None or order.release is None or before == order.release or not machine.is_root:
        return
    names = require_known(machine, order.release)
    if names:
        yield Note(
            f"{order.release.name} changes the tables ({', '.join(names)}), after which {before.name} does not start:"
            " who wants a way back makes a backup first"
        )


def require_known(machine: Machine, release: Release) -> list[str]:
    """The migrations that a release would apply; ConfigurationError if the database has some that it does not know."""
    try:
        return tokens.asked(machine, release, "pending").split()
    except CommandFailed as error:
        raise ConfigurationError(f"release {release.name} cannot work with the database as it is: {error}") from error
