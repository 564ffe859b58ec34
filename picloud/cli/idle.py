"""`picloud doctor --idle`: whether this machine's PiCloud rests, measured from outside while it runs."""

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from picloud.cli.ground import embedded, lock_holder
from picloud.cli.terminal import harmless
from picloud.errors import DatabaseUnavailable, PlatformError
from picloud.idle import contract
from picloud.idle.finding import below, is_postgres, postgres_of, units
from picloud.idle.looks import PROC
from picloud.idle.usage import Measured, Usage, measure
from picloud.settings import ServerSettings
from picloud.storage.activity import Activity, Asked

UP = "picloud up"
_UNITS, _POSTGRES_UNITS, _CADDY_UNIT = "picloud*.service", "postgresql@*.service", "caddy.service"
_SQL_UNITS = tuple(f"picloud{part}.service" for part in ("", "-manager", "-orchestrator", "-dispatcher"))
_POSTGRES = "postgresql"


@dataclass(frozen=True, slots=True)
class Report:
    """What was seen of one PiCloud, and of what stands beside it."""

    measured: Measured
    asked: Asked | None  # None: the database could not be asked
    untuned: tuple[str, ...]  # settings of PostgreSQL
    unseen: tuple[str, ...]  # what was not counted, and why

    @property
    def ours(self) -> list[Usage]:
        """PiCloud's processes."""
        return [it for it in self.measured.usages if it.group.startswith("picloud")]

    @property
    def postgres(self) -> list[Usage]:
        """PostgreSQL's, if it runs here."""
        return [it for it in self.measured.usages if it.group.startswith(_POSTGRES)]

    @property
    def others(self) -> list[Usage]:
        """All that stand beside."""
        return [it for it in self.measured.usages if not it.group.startswith("picloud")]

    @property
    def broken(self) -> list[str]:
        """In which ways the contract does not hold; empty: it does."""
        said = [
            f"{it.script} ran {contract.times(it.count)} ({it.trigger})"
            for it in (self.asked.ran if self.asked else ())
        ]
        said += contract.deeds(self.ours)
        if self.asked and self.asked.backends:
            said.append(f"PiCloud sent SQL on {len(self.asked.backends)} of its connections")
        return said or self._broken_by_postgres()

    def _broken_by_postgres(self) -> list[str]:
        """Of itself, or for others: what PiCloud has it do is PiCloud's."""
        woken, most = contract.wakeups(self.postgres), contract.wakeups_max(self.measured.seconds)
        if woken <= most or self.untuned:
            return []
        busiest = max(self.postgres, key=lambda it: it.voluntary)
        return [
            f"PostgreSQL woke {contract.times(woken)}, with its settings it does at most {most} times;"
            f" most often '{busiest.name}' (pid {busiest.pid}): {contract.times(busiest.voluntary)}."
            " (Within 10 s after its last statement, each connection wakes it once more.)"
        ]

    @property
    def advice(self) -> str:
        """What PostgreSQL lacks; empty: nothing."""
        if not self.untuned or not self.postgres:
            return ""
        return f"PostgreSQL is not set to sleep ({', '.join(self.untuned)}): see config/postgresql.conf"


def report(settings: ServerSettings, seconds: float) -> Report:
    """Measure. PlatformError if there is no PiCloud here."""
    place = _Place(settings)
    with _asking(place) as (activity, unseen):
        untuned = tuple(activity.untuned()) if activity else ()
        place.backend = activity.backend if activity else 0
        if activity:
            activity.begin()
        measured = measure(place.groups, seconds)
        asked = activity.end() if activity else None
    seen = Report(measured, asked, untuned, tuple(unseen))
    if not seen.ours:
        raise PlatformError("PiCloud's processes are not to be seen: they ended, or /proc hides them from who asks")
    return Report(measured, asked, untuned, (*unseen, *_unread(measured.usages), *_absent(seen)))


class _Place:
    """Where this machine's PiCloud is: below `picloud up` on the data folder, else in systemd's units."""

    def __init__(self, settings: ServerSettings) -> None:
        self.backend = 0  # of PostgreSQL: it answers us, and is not to be counted
        self._up = lock_holder(settings)
        if not self._up and not units(_UNITS):
            raise PlatformError(f"no PiCloud is to be seen here: none on {settings.data}, and no unit {_UNITS}")
        is_embedded = self._up and not settings.database_url
        self.dsn = embedded(settings).dsn if is_embedded else settings.database_url

    @property
    def user(self) -> int:
        """Whom PiCloud runs as: the database may know nobody else."""
        pids = [self._up] if self._up else [pid for found in units(*_SQL_UNITS).values() for pid in found]
        return (PROC / str(pids[0])).stat().st_uid if pids else os.geteuid()

    def groups(self) -> dict[str, list[int]]:
        """Name → pids."""
        ours = {UP: below(self._up)} if self._up else units(_UNITS)
        postgres = self._postgres(ours.get(UP, []))
        beside = ({_POSTGRES: postgres} if postgres else units(_POSTGRES_UNITS)) | units(_CADDY_UNIT)
        left_out = {self.backend, os.getpid()}
        ours = {name: [pid for pid in pids if pid not in postgres] for name, pids in ours.items()}
        return {name: [pid for pid in pids if pid not in left_out] for name, pids in (ours | beside).items()}

    def _postgres(self, ours: list[int]) -> list[int]:
        """The server that answers us; if none does, the embedded one."""
        server = postgres_of(self.backend) or next(filter(is_postgres, ours), 0)
        return below(server) if server else []


@contextlib.contextmanager
def _asking(place: _Place) -> Iterator[tuple[Activity | None, list[str]]]:
    """A connection to the database, as whom it knows; else None, and why."""
    if not place.dsn:
        yield None, ["SQL was not counted: these settings name no database (PICLOUD_CONFIG, PICLOUD_DATABASE_URL)"]
        return
    try:
        with _as(place.user):
            activity = Activity(place.dsn)
    except DatabaseUnavailable as error:
        yield None, [f"SQL was not counted: {error}"]
        return
    with contextlib.closing(activity):
        yield activity, []


@contextlib.contextmanager
def _as(user: int) -> Iterator[None]:
    """Root becomes a user for a moment: PostgreSQL asks the kernel who connects."""
    own = os.geteuid()
    if own or not user:
        yield
        return
    os.seteuid(user)
    try:
        yield
    finally:
        os.seteuid(own)


def _unread(usages: tuple[Usage, ...]) -> Iterator[str]:
    names = sorted({it.name for it in usages if it.written_bytes is None})
    if names:
        yield f"bytes written and memory of {', '.join(names)} may not be read: ask as root"


def _absent(seen: Report) -> Iterator[str]:
    if not seen.postgres:
        yield "PostgreSQL's processes are not on this machine, or not to be seen: its wake-ups were not counted"


def as_document(seen: Report) -> dict[str, Any]:
    """All of it for JSON."""
    asked = seen.asked
    return {
        "holds": not seen.broken,
        "seconds": round(seen.measured.seconds, 3),
        "broken": seen.broken,
        "unseen": list(seen.unseen),
        "statements": len(asked.backends) if asked else None,
        "ran": [{"script": it.script, "trigger": it.trigger, "count": it.count} for it in asked.ran] if asked else [],
        "postgresql": {
            "wakeups": contract.wakeups(seen.postgres),
            "wakeups_max": contract.wakeups_max(seen.measured.seconds),
            "untuned": list(seen.untuned),
        }
        if seen.postgres
        else None,
        "processes": [_process(it) for it in seen.measured.usages],
    }


def _process(usage: Usage) -> dict[str, Any]:
    return {
        "group": usage.group,
        "pid": usage.pid,
        "name": harmless(usage.name),
        "fate": usage.fate,
        "switches_voluntary": usage.voluntary,
        "switches_involuntary": usage.involuntary,
        "cpu_ns": usage.cpu_ns,
        "cpu_ticks": usage.cpu_ticks,
        "written_bytes": usage.written_bytes,
        "pss_bytes": usage.pss_bytes,
        "busy": dict(usage.busy),
    }
