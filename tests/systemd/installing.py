"""What an installation leaves on a machine, as its tests look at it."""

import re

from tests.systemd.guest import Guest
from tests.systemd.installed import CHECKOUT, OFFLINE, UNITS

SOCKET = "/run/picloud/http.sock"
PLACES = ("/etc", "/opt/picloud", "/usr/local/bin", "/usr/local/lib/systemd", "/var/lib/picloud")


def make(guest: Guest, *words: str, check: bool = True) -> str:
    """`make …` in the checkout."""
    return guest.run("make", *words, cwd=CHECKOUT, env=OFFLINE, check=check)


def token_in(said: str) -> str:
    """The one token that a text shows."""
    (token,) = re.findall(r"^pc_[A-Za-z0-9_-]{43}$", said, re.MULTILINE)
    return str(token)


def call(guest: Guest, path: str) -> str:
    """The body of an answer to a GET; AssertionError for a status of 400 and more."""
    return guest.run("curl", "-sSf", "--unix-socket", SOCKET, f"http://localhost{path}")


def change(guest: Guest, file: str, old: str, new: str) -> None:
    """Edit a file of the checkout."""
    path = guest.file(f"{CHECKOUT}/{file}")
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def postgres_folder(guest: Guest) -> str:
    """Where the configuration of its PostgreSQL lies."""
    version, name, *_ = guest.run("pg_lsclusters", "--no-header").split()
    return f"/etc/postgresql/{version}/{name}"


def pids(guest: Guest) -> list[str]:
    """The processes that systemd has started for PiCloud, and for what it works with."""
    version, name = postgres_folder(guest).split("/")[-2:]
    units = (*UNITS, "caddy.service", f"postgresql@{version}-{name}.service")
    return [guest.run("systemctl", "show", "--property=MainPID", "--value", unit).strip() for unit in units]


def snapshot(guest: Guest, *places: str) -> set[str]:
    """Every file below some places: its name, size, mode, owner, and when it was changed."""
    form = "%p %s %m %U %G %l %T@\n"
    return set(guest.run("find", *(places or PLACES), "-printf", form, check=False).splitlines())


def names(guest: Guest, *places: str) -> set[str]:
    """Every file and folder below some places."""
    return set(guest.run("find", *places).splitlines())


def release_in_use(guest: Guest) -> str:
    """Its name."""
    return guest.run("readlink", "/opt/picloud/current").strip().removeprefix("releases/")
