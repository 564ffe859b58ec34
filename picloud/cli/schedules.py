"""`picloud schedule …`: when scripts run by themselves, and what became of each time that was due."""

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

import click

from picloud.cli.client import API, connect
from picloud.cli.completion import ScriptName
from picloud.cli.output import as_json, newest, show_fields, show_json, show_rows
from picloud.errors import PicloudError
from picloud.manager.schedules import NEXT_RUNS_MAX, upcoming
from picloud.model import Missed, Overlap, SlotState, is_script_name
from picloud.planning import NAME_RULE
from picloud.timetable import BadRule, parse

_SCHEDULES = f"{API}/schedules"
_COLUMNS = ("name", "script", "when", "timezone", "next_due", "origin", "error")
_SLOTS = ("due_at", "until", "count", "state", "lateness_ms", "invocation")
_JSON = {"content-type": "application/json"}

_count = click.option(
    "--count",
    metavar="N",
    type=click.IntRange(min=1, max=NEXT_RUNS_MAX),
    default=5,
    show_default=True,
    help="How many due times.",
)


def _times(command: Callable[..., None]) -> Callable[..., None]:
    """The options that say when something is due."""
    for option in (
        click.option("--timezone", metavar="ZONE", default="UTC", show_default=True, help="Whose clocks count."),
        click.option("--at", metavar="TIME", help="With --every: at which time, such as 09:00."),
        click.option("--every", metavar="SPAN", help="'10 minutes', 'day', 'monday'."),
        click.option("--cron", metavar="EXPRESSION", help="'*/5 * * * *', 6 fields with seconds first, or '@daily'."),
    ):
        command = option(command)
    return command


@click.group()
def schedule() -> None:
    """Let scripts run by themselves, and see when they did."""


@schedule.command("ls")
@click.option("--script", metavar="NAME", type=ScriptName(), default="", help="Of this script alone.")
@as_json
def ls(script: str, as_json: bool) -> None:
    """List the schedules."""
    path = f"{_SCHEDULES}?{urlencode({'script': script})}" if script else _SCHEDULES
    found = list(connect().items(path))
    if as_json:
        show_json(found)
    else:
        show_rows([{**it, "when": _when(it)} for it in found], _COLUMNS, as_json=False)


@schedule.command("show")
@click.argument("name")
@as_json
def show(name: str, as_json: bool) -> None:
    """Show a schedule with all that is set."""
    found = connect().call("GET", _path(name))
    show_json(found) if as_json else show_fields(found)


@schedule.command("set")
@click.argument("name")
@click.argument("script", type=ScriptName())
@_times
@click.option("--payload", metavar="JSON", default="null", help="The body of the requests; else null.")
@click.option(
    "--overlap",
    metavar="WHAT",
    type=click.Choice([str(it) for it in Overlap]),
    default=str(Overlap.SKIP),
    show_default=True,
    help="While an earlier run is not over: skip, queue or allow.",
)
@click.option(
    "--missed",
    metavar="WHAT",
    type=click.Choice([str(it) for it in Missed]),
    default=str(Missed.RUN_ONCE),
    show_default=True,
    help="What nobody was there to run: run-once, run-all or skip.",
)
@click.option(
    "--missed-within",
    "missed_within_s",
    metavar="SECONDS",
    type=click.IntRange(min=0),
    default=86_400,
    show_default=True,
    help="Later than that, it does not run.",
)
@click.option(
    "--jitter",
    "jitter_s",
    metavar="SECONDS",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="Runs begin up to so much later, each slot by as much whenever it is asked.",
)
def set_(name: str, payload: str, **wanted: Any) -> None:
    """Make a schedule, or replace one: at its times the script runs. Give either --cron or --every."""
    try:
        body = json.dumps({**wanted, "payload": json.loads(payload)})
    except ValueError as error:
        raise click.UsageError(f"--payload is no JSON: {error}") from error
    made = connect().call("PUT", _path(name), body.encode(), _JSON)
    click.echo(f"{made['name']} runs {made['script']} {_when(made)}; next: {made['next_due'] or 'never'}")


@schedule.command("rm")
@click.argument("name")
def rm(name: str) -> None:
    """Remove a schedule; what became of its due times stays to be seen."""
    connect().call("DELETE", _path(name))
    click.echo(f"schedule {name} is removed")


@schedule.command("slots")
@click.argument("name")
@click.option(
    "--state", metavar="STATE", type=click.Choice([str(it) for it in SlotState]), help="queued, ran, failed, missed, …"
)
@newest
@as_json
def slots(name: str, state: str | None, lines: int, as_json: bool) -> None:
    """List what became of a schedule's due times, newest first."""
    path = f"{_path(name)}/slots" + (f"?{urlencode({'state': state})}" if state else "")
    show_rows(connect().items(path, lines), _SLOTS, as_json)


@schedule.command("next-runs")
@click.argument("name", required=False)
@_count
@_times
@as_json
def next_runs(name: str | None, count: int, as_json: bool, **times: str | None) -> None:
    """Tell when a schedule is due next, in UTC and in its time zone; without NAME, what --cron or --every would be."""
    if name and (times["cron"] or times["every"]):
        raise click.UsageError("give a schedule's name, or --cron or --every: not both")
    found = (
        connect().call("GET", f"{_path(name)}/next-runs?count={count}")["items"] if name else list(_tried(count, times))
    )
    show_rows(found, ("due_at", "local"), as_json)


def _tried(count: int, times: dict[str, str | None]) -> Iterator[dict[str, Any]]:
    """When a rule that is nobody's is due; needs no server."""
    try:
        rule = parse(**times)
    except BadRule as error:
        raise click.UsageError(f"--{error.field}: {error.message}") from error
    now = datetime.now(UTC)
    for due in upcoming(rule, now, now, count):
        moment = due.isoformat().replace("+00:00", "Z")
        yield {"due_at": moment, "local": due.astimezone(ZoneInfo(rule.timezone)).isoformat()}


def _when(it: dict[str, Any]) -> str:
    """Its times for a person."""
    if it["cron"]:
        return f"at '{it['cron']}'"
    return f"every {it['every']}" + (f" at {it['at']}" if it["at"] else "")


def _path(name: str) -> str:
    if not is_script_name(name):  # in a URL it could reach something else
        raise PicloudError(f"{name!r} cannot be a schedule's name: {NAME_RULE}")
    return f"{_SCHEDULES}/{name}"
