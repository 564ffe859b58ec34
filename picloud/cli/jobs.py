"""`picloud job …`: what is to run later, and what became of it."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

import click

from picloud.cli.client import API, Client, connect, script_path
from picloud.cli.completion import ScriptName
from picloud.cli.output import as_json, newest, show_fields, show_json, show_rows
from picloud.model import JobState

JOBS = f"{API}/jobs"
COLUMNS = ("id", "created_at", "script", "trigger", "state", "due_at", "attempts", "outcome", "error")
_RUN_COLUMNS = ("invocation", "started_at", "outcome")
_COUNTS = ("queued", "running", "done", "dead", "cancelled", "due", "oldest_ms")

job_argument = click.argument("identifier", metavar="ID", type=click.UUID)


@click.group()
def job() -> None:
    """Invocations that were asked for and run later."""


@job.command("ls")
@click.argument("name", type=ScriptName(), required=False, default="")
@click.option(
    "--state", metavar="STATE", type=click.Choice([str(one) for one in JobState]),
    help="queued, running, done, dead or cancelled.",
)  # fmt: skip
@click.option("--key", metavar="KEY", default="", help="That were sent with this key.")
@newest
@as_json
def ls(name: str, state: str | None, key: str, lines: int, as_json: bool) -> None:
    """List jobs, newest first, of all scripts or of one."""
    show_jobs(JOBS, name, lines, as_json, state=state or "", key=key)


@job.command("show")
@job_argument
@as_json
def show(identifier: object, as_json: bool) -> None:
    """Show a job with its runs and the answer of its last one."""
    it = connect().call("GET", f"{JOBS}/{identifier}")
    if as_json:
        show_json(it)
        return
    show_job(it)


@job.command("cancel")
@click.argument("identifiers", metavar="ID…", type=click.UUID, nargs=-1, required=True)
def cancel(identifiers: tuple[object, ...]) -> None:
    """Keep jobs that wait from running; one that runs or has ended stays as it is."""
    client = connect()
    for identifier in identifiers:
        client.call("DELETE", f"{JOBS}/{identifier}")
        click.echo(f"job {identifier} is cancelled")


@job.command("stats")
@as_json
def stats(as_json: bool) -> None:
    """Count jobs by state, in all and of each script, and say for how long the oldest has been due."""
    it = connect().call("GET", f"{API}/queue")
    if as_json:
        show_json(it)
        return
    show_fields({name: it[name] for name in _COUNTS})
    show_rows(it["scripts"], ("script", *_COUNTS), as_json=False)


def show_jobs(path: str, name: str, lines: int, as_json: bool, **asked: str) -> None:
    """List those that a path has, of one script if there is a name."""
    client = connect()
    wanted = {word: value for word, value in {"script": name, **asked}.items() if value}
    found = list(client.items(f"{path}?{urlencode(wanted)}" if wanted else path, lines))
    if not found:
        _require_script(client, name)
    show_rows(found, COLUMNS, as_json)


def show_job(it: Mapping[str, Any]) -> None:
    """One, as far as there is something to say, and its runs."""
    show_fields({key: value for key, value in it.items() if value is not None and key not in ("runs", "logs")})
    if it["runs"]:
        click.echo("runs:")
        show_rows(it["runs"], _RUN_COLUMNS, as_json=False)


def _require_script(client: Client, name: str) -> None:
    """Say so if there is no such script: it was mistyped."""
    if name:
        client.call("GET", script_path(name))
