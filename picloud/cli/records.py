"""Commands for what ran: its log and its outcomes."""

import json
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

import click

from picloud.cli.client import API, Client, Interrupted, connect, script_path
from picloud.cli.completion import ScriptName
from picloud.cli.output import as_json, show_json, show_rows
from picloud.cli.terminal import harmless, json_text
from picloud.model import Level, Outcome

_RETRY_S = (1.0, 15.0)  # first and longest wait before the next try
_LINES_MAX = 500  # that the server begins with

_since = click.option(
    "--since", metavar="WHEN", default="", help="From when: 15m, 2h, 7d ago, or a time such as 2026-01-31T12:00:00Z."
)


def _choice(of: type[Level] | type[Outcome]) -> click.Choice[str]:
    return click.Choice([str(one) for one in of])


@click.command()
@click.argument("name", type=ScriptName(), required=False, default="")
@click.option("-f", "--follow", is_flag=True, help="Go on with what comes, until Ctrl-C.")
@click.option(
    "-n",
    "--lines",
    metavar="N",
    type=click.IntRange(min=0),
    default=100,
    show_default=True,
    help="How many lines, the newest.",
)
@click.option("--level", metavar="LEVEL", type=_choice(Level), help="debug, info, warn or error: this one and louder.")
@_since
@click.option("--invocation", metavar="ID", default="", help="Of one invocation.")
@as_json
def logs(name: str, follow: bool, lines: int, level: str | None, since: str, invocation: str, as_json: bool) -> None:
    """Show what scripts wrote, oldest first. With -f and --json: one document a line."""
    client = connect()
    wanted = _query(script=name, level=level, since=since, invocation=invocation)
    if follow:
        _follow(client, name, wanted, lines, as_json)
        return
    found = list(client.items(f"{API}/logs?{wanted}", lines))[::-1]
    found.sort(key=lambda line: str(line["at"]))  # a batch is written when it ends, and shown as it was written
    if not found:
        _require_script(client, name)
    if as_json:
        show_json(found)
    else:
        for line in found:
            click.echo(log_text(line))


@click.command()
@click.argument("name", type=ScriptName(), required=False, default="")
@click.option(
    "-n",
    "--lines",
    metavar="N",
    type=click.IntRange(min=1),
    default=50,
    show_default=True,
    help="How many invocations, the newest.",
)
@click.option("--outcome", metavar="OUTCOME", type=_choice(Outcome), help="That ended so: ok, script-error, timeout, …")
@_since
@as_json
def invocations(name: str, lines: int, outcome: str | None, since: str, as_json: bool) -> None:
    """List what ran, newest first."""
    client = connect()
    wanted = _query(script=name, outcome=outcome, since=since)
    found = list(client.items(f"{API}/invocations?{wanted}", lines))
    if not found:
        _require_script(client, name)
    columns = ("id", "started_at", "script", "version", "trigger", "outcome", "status", "run_ms", "error")
    show_rows(found, columns, as_json)


def log_text(line: dict[str, Any]) -> str:
    """One log line for a terminal."""
    fields = json.dumps(line["fields"], ensure_ascii=False) if line["fields"] else ""
    return harmless(f"{line['at']} {line['script']} {line['level']!s:5} {line['message']} {fields}").rstrip()


def _query(**wanted: str | None) -> str:
    return urlencode({name: value for name, value in wanted.items() if value})


def _require_script(client: Client, name: str) -> None:
    """Say so if there is no such script: it was mistyped."""
    if name:
        client.call("GET", script_path(name))


def _follow(client: Client, name: str, wanted: str, lines: int, as_json: bool) -> None:
    _require_script(client, name)
    list(client.items(f"{API}/logs?{wanted}", 1))  # what is wrong from the start is no reason to try again
    begin = f"limit={min(lines, _LINES_MAX)}&" if lines else ""
    for line in _lines_that_come(client, f"{API}/logs?follow=true&{begin}{wanted}"):
        click.echo(json_text(line) if as_json else log_text(line))


def _lines_that_come(client: Client, path: str) -> Iterator[dict[str, Any]]:
    """For ever: a connection that ends is made again, and goes on behind the last line that came."""
    last_id, wait_s = "", 0.0
    while True:
        try:
            for event in client.events(path, last_id):
                last_id, wait_s = event.id, 0.0
                if event.data:
                    yield client.document(event.data)
        except Interrupted as interrupted:
            if not wait_s:
                click.echo(f"{harmless(str(interrupted))}; trying until it is back", err=True)
        wait_s = min(max(2 * wait_s, _RETRY_S[0]), _RETRY_S[1])
        time.sleep(wait_s)
