"""What is said when something changes that others keep in memory: the NOTIFY channel and its words.

Announced inside the transaction of the change: who hears it sees what is new.
"""

import enum

from picloud.storage.connection import Cursor

CHANNEL = "picloud_changes"


class Changed(enum.StrEnum):
    """What an announcement is about."""

    SCRIPT = "script"  # one, named
    ROUTES = "routes"  # any
    TOKENS = "tokens"  # any
    SECRETS = "secrets"  # one, named, or any


def announce(cursor: Cursor, what: Changed, name: str = "") -> None:
    """Tell every listener once this transaction commits."""
    cursor.execute("SELECT pg_notify(%s, %s)", (CHANNEL, f"{what} {name}"))


def parse(payload: str) -> tuple[str, str]:
    """A message → (what, name). What is not in `Changed` comes from a newer version of PiCloud."""
    what, _, name = payload.partition(" ")
    return what, name
