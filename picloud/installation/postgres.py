"""PostgreSQL: Debian's own cluster with a role and a database for PiCloud, by peer authentication: without a password.

The role is for PiCloud's user, and for root, whose `picloud backup` it is: two lines in pg_ident.conf and one in
pg_hba.conf say so.
Owns: which cluster that is, and the SQL that makes these; names are constants. With another `database_url` in the
operator's file the database is the operator's, and nothing of it is touched.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from picloud.errors import PlatformError
from picloud.installation.machine import CannotSee, Machine
from picloud.installation.places import CURRENT, DATABASE, POSTGRES, POSTGRES_SOCKETS, SETTINGS, TUNING, USER
from picloud.installation.releases import led_to
from picloud.installation.steps import Change, News, Note, Order

_PORT = 5432
_OURS = f"postgresql://{USER}@/{DATABASE}?host={POSTGRES_SOCKETS}"
_MARK = "# PiCloud's"
_HBA = f"local {DATABASE} {USER} peer map={USER} {_MARK}\n"
_IDENT = f"{USER} {USER} {USER} {_MARK}\n{USER} root {USER} {_MARK}\n"
_PROGRAMS = Path("/usr/lib/postgresql")

_HAS_ROLE = f"SELECT 1 FROM pg_roles WHERE rolname = '{USER}'"  # noqa: S608 - of constants
_HAS_DATABASE = f"SELECT 1 FROM pg_database WHERE datname = '{DATABASE}'"  # noqa: S608 - of constants
_MAKE_ROLE = f"CREATE ROLE {USER} LOGIN"
_MAKE_DATABASE = f"CREATE DATABASE {DATABASE} OWNER {USER} TEMPLATE template0 ENCODING 'UTF8' LOCALE 'C.UTF-8'"
_HAS_SECRETS = "SELECT 1 FROM secrets LIMIT 1"
_HAS_TABLE = "SELECT 1 WHERE to_regclass('secrets') IS NOT NULL"


@dataclass(frozen=True, slots=True)
class Cluster:
    """One PostgreSQL of this machine, as `pg_lsclusters` tells of it."""

    version: str
    name: str
    port: int
    is_online: bool

    @property
    def unit(self) -> str:
        """What systemd calls it."""
        return f"postgresql@{self.version}-{self.name}.service"

    @property
    def folder(self) -> Path:
        """Where its configuration is."""
        return POSTGRES / self.version / self.name

    @property
    def tuning(self) -> Path:
        """The file that tunes it."""
        return self.folder / TUNING


def database(machine: Machine, _order: Order) -> News:
    """A cluster that runs, with PiCloud's role and database."""
    if _is_elsewhere(machine):
        yield Note(f"database_url in {SETTINGS} names a database of your own: it is left to you")
        return
    _want_root(machine)
    if not _clusters(machine):
        version = max((path.name for path in machine.path(_PROGRAMS).iterdir()), key=float)
        yield Change(
            f"make a cluster of PostgreSQL {version}",
            lambda: machine.do("pg_createcluster", version, "main", "--start"),
        )
    _want_cluster(machine)
    found = cluster(machine)
    if not found.is_online:
        yield Change("start PostgreSQL", lambda: machine.do("systemctl", "start", found.unit))
    _want_running(machine)
    if not _is_there(machine, _HAS_ROLE):
        yield Change(f"make the role {USER}", lambda: _do(machine, _MAKE_ROLE))
    if not _is_there(machine, _HAS_DATABASE):
        yield Change(f"make the database {DATABASE}", lambda: _do(machine, _MAKE_DATABASE))
    edits = [(name, text) for name, text in _admitting(machine, found) if text != machine.text(name)]
    if edits:
        what = f"admit {USER} and root as {USER}, in {' and '.join(str(name) for name, _ in edits)}"
        yield Change(what, lambda: _edit(machine, found, edits))


def tuning(machine: Machine, order: Order) -> News:
    """What lets PostgreSQL sleep, if the operator wants that: it holds for all of its databases."""
    if _is_elsewhere(machine):
        return
    _want_cluster(machine)
    found = cluster(machine)
    text, there = order.text("config/postgresql.conf"), machine.text(found.tuning)
    wanted = order.tune
    if wanted is None:  # what is tuned stays so; who installs is asked, and who upgrades has been
        wanted = there is not None or (led_to(machine, CURRENT) is None and order.ask_to_tune())
    if wanted and there != text:
        yield Change(f"write {found.tuning}", lambda: machine.write(found.tuning, text))
    elif there is not None and not wanted:
        yield Change(f"remove {found.tuning}", lambda: machine.remove(found.tuning))
    else:
        if there is None:
            yield Note("PostgreSQL is as Debian has it: --tune-postgres lets it sleep while nothing happens")
        return
    yield Change("restart PostgreSQL", lambda: machine.do("systemctl", "restart", found.unit))


def url(machine: Machine) -> str:
    """Where PiCloud's database is, as libpq writes it."""
    port = cluster(machine).port if _clusters(machine) else _PORT
    return _OURS if port == _PORT else f"{_OURS}&port={port}"


def cluster(machine: Machine) -> Cluster:
    """The one that PiCloud's database is in; PlatformError if it cannot be told."""
    found = _clusters(machine)
    wanted = [it for it in found if it.port == _port_said(machine)] or (found if len(found) == 1 else [])
    if not wanted:
        names = ", ".join(f"{it.version}/{it.name} on port {it.port}" for it in found) or "none"
        raise PlatformError(
            f"there is no telling which PostgreSQL to use ({names}): name it in {SETTINGS},"
            f' database_url = "{_OURS}&port=…"'
        )
    return wanted[0]


def has_secrets(machine: Machine) -> bool:
    """Whether PiCloud's database holds any secret; of one that is the operator's, that is not asked."""
    return (
        not _is_elsewhere(machine)
        and bool(_clusters(machine))
        and cluster(machine).is_online
        and _is_there(machine, _HAS_DATABASE)
        and _is_there(machine, _HAS_TABLE, DATABASE)
        and _is_there(machine, _HAS_SECRETS, DATABASE)
    )


def drop(machine: Machine) -> None:
    """Delete PiCloud's database and role, for good, and what was tuned for it."""
    if _is_elsewhere(machine) or not _clusters(machine):
        return
    found = cluster(machine)
    _do(machine, f"DROP DATABASE IF EXISTS {DATABASE} WITH (FORCE)")
    _do(machine, f"DROP ROLE IF EXISTS {USER}")
    _edit(machine, found, [(name, _without_ours(machine.text(name) or "")) for name, _ in _admitting(machine, found)])
    if machine.has(found.tuning):
        machine.remove(found.tuning)
        machine.do("systemctl", "restart", found.unit)


def _clusters(machine: Machine) -> Sequence[Cluster]:
    rows = [line.split() for line in machine.ask("pg_lsclusters", "--no-header").splitlines()]
    return [Cluster(row[0], row[1], int(row[2]), row[3].startswith("online")) for row in rows]


def _said(machine: Machine) -> str:
    """The database_url in the operator's file; empty if there is none. What is wrong there is told later."""
    found = re.search(r'^\s*database_url\s*=\s*"(.*)"', machine.text(SETTINGS) or "", re.MULTILINE)
    return found[1] if found else ""


def _is_elsewhere(machine: Machine) -> bool:
    said = _said(machine)
    return bool(said) and f"host={POSTGRES_SOCKETS}" not in said


def _port_said(machine: Machine) -> int:
    found = re.search(r"port=(\d+)", _said(machine))
    return int(found[1]) if found else _PORT


def _want_root(machine: Machine) -> None:
    if not machine.is_root:
        raise CannotSee("PostgreSQL tells root alone")


def _want_cluster(machine: Machine) -> None:
    if not _clusters(machine):
        raise CannotSee("the rest is seen once there is a PostgreSQL")


def _want_running(machine: Machine) -> None:
    if not cluster(machine).is_online:
        raise CannotSee("the rest is seen once PostgreSQL runs")


def _admitting(machine: Machine, found: Cluster) -> list[tuple[Path, str]]:
    """The files that say who is who, as they should be: what stands first in pg_hba.conf counts."""
    hba, ident = found.folder / "pg_hba.conf", found.folder / "pg_ident.conf"
    return [
        (hba, _HBA + _without_ours(machine.text(hba) or "")),
        (ident, _without_ours(machine.text(ident) or "") + _IDENT),
    ]


def _without_ours(text: str) -> str:
    return "".join(f"{line}\n" for line in text.splitlines() if not line.endswith(_MARK))


def _edit(machine: Machine, found: Cluster, edits: Sequence[tuple[Path, str]]) -> None:
    for name, text in edits:
        machine.edit(name, text)
    machine.do("systemctl", "reload", found.unit)


def _is_there(machine: Machine, question: str, where: str = "postgres") -> bool:
    return machine.ask(*_psql(machine, where), question) == "1"


def _do(machine: Machine, statement: str) -> None:
    machine.do(*_psql(machine, "postgres"), statement)


def _psql(machine: Machine, where: str) -> list[str]:
    """As PostgreSQL's own administrator."""
    found = cluster(machine)
    program = ["psql", "-X", "-A", "-t", "-q", "-v", "ON_ERROR_STOP=1"]
    place = ["-h", str(POSTGRES_SOCKETS), "-p", str(found.port), "-d", where]
    return ["runuser", "-u", "postgres", "--", *program, *place, "-c"]
