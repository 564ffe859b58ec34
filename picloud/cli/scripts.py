"""Commands for scripts on a running PiCloud."""

import json
import sys
from collections.abc import Mapping
from urllib.parse import quote

import click

from picloud.cli.client import API, ApiError, Client, connect, describe, pieces, script_path
from picloud.cli.completion import script_argument
from picloud.cli.dry_run import dry_run_options, rehearse
from picloud.cli.output import as_json, show_fields, show_json, show_pieces, show_rows
from picloud.cli.records import log_text
from picloud.cli.request import data_option, printable, read_data
from picloud.cli.routes import routes_of
from picloud.cli.routes import words as route_words
from picloud.cli.source import active_version, version_before
from picloud.cli.terminal import harmless

_INVOCATION_COLUMNS = ("started_at", "version", "outcome", "status", "run_ms", "error")


@click.command()
@script_argument
@data_option
@click.option(
    "--content-type",
    metavar="TYPE",
    default="application/json",
    show_default=True,
    callback=printable,
    help="The body's.",
)
@click.option(
    "--async", "later", is_flag=True, help="Store a job that runs it, print the job's id, and wait for nothing."
)
@dry_run_options
def invoke(
    name: str, data: str, content_type: str, later: bool, dry_run: bool, allow_http: bool, as_json: bool
) -> None:
    """Run a script once: its answer to stdout, its log to stderr. Exit 1 if the answer's status is 400 or more."""
    if later and dry_run:
        raise click.UsageError("--async does not go with --dry-run")
    client, path, headers = connect(), f"{script_path(name)}/invoke", {"content-type": content_type}
    if later:
        _enqueue(client, path, read_data(data), headers)
        return
    if dry_run:
        rehearse(client, path, read_data(data), headers, allow_http=allow_http, as_json=as_json)
        return
    run_once(client, f"{path}?recorded=true", read_data(data), headers)


def run_once(client: Client, path: str, body: bytes, headers: Mapping[str, str] = {}) -> None:
    """Have a script run, and show what it says; exit 1 if its answer's status is 400 or more."""
    answer = client.send("POST", path, body, headers, whole=False)
    if answer.status >= 400 and "picloud-invocation" not in answer.headers:  # it did not run
        raise ApiError(describe(answer))
    try:
        show_pieces(pieces(answer))
    finally:
        if invocation := answer.headers.get("picloud-invocation"):
            _show_log(client, invocation)
    if answer.status >= 400:
        sys.exit(1)


@click.command()
@as_json
def ls(as_json: bool) -> None:
    """List the scripts."""
    show_rows(connect().items(f"{API}/scripts"), ("name", "active_version", "url", "updated_at"), as_json)


@click.command()
@script_argument
@as_json
def show(name: str, as_json: bool) -> None:
    """Show a script: its active version, settings, routes and latest invocations."""
    client = connect()
    script = client.call("GET", script_path(name))
    script["routes"] = routes_of(client, name)
    script["invocations"] = client.visible_items(f"{API}/invocations?script={quote(name)}", 5)
    if as_json:
        show_json(script)
        return
    show_fields({key: script[key] for key in ("name", "active_version", "url", "created_at", "updated_at")})
    settings = script["settings"]
    show_fields({**settings, "env": dict.fromkeys(sorted(settings["env"]), "set")})
    for route in script["routes"]:
        click.echo(f"route: {route_words(route)}")
    click.echo("latest invocations:")
    show_rows(script["invocations"], _INVOCATION_COLUMNS, as_json=False)


@click.command()
@script_argument
@as_json
def versions(name: str, as_json: bool) -> None:
    """List a script's versions, newest first."""
    columns = ("version", "sha256", "bytes", "created_at", "created_by")
    show_rows(connect().items(script_path(name) + "/versions"), columns, as_json)


@click.command()
@script_argument
@click.argument("version", type=click.IntRange(min=1), required=False)
def rollback(name: str, version: int | None) -> None:
    """Make an older version the active one; without a number, the one before the active."""
    client = connect()
    wanted = version or version_before(client, name, active_version(client, name))
    client.call("PUT", script_path(name) + "/active", json.dumps({"version": wanted}).encode())
    click.echo(f"{name} version {wanted} is live")


@click.command()
@script_argument
@click.option("--yes", is_flag=True, help="Do not ask.")
def rm(name: str, yes: bool) -> None:
    """Delete a script with its versions, settings, routes and values; its invocations stay."""
    client, path = connect(), script_path(name)
    if not yes:
        _require(client, path)
    routes = ", ".join(map(route_words, routes_of(client, name)))
    if not yes:
        click.confirm(
            f"Delete '{name}' with all its versions{f' and its routes {routes}' if routes else ''}?", abort=True
        )
    client.call("DELETE", path)
    click.echo(f"{name} is deleted{f', and with it {routes}' if routes else ''}")


def _enqueue(client: Client, path: str, body: bytes, headers: Mapping[str, str]) -> None:
    job = client.call("POST", path, body, {**headers, "prefer": "respond-async"})
    click.echo(harmless(str(job["id"])))
    click.echo(f"see what becomes of it: picloud job show {harmless(str(job['id']))}", err=True)


def _require(client: Client, path: str) -> None:
    """ApiError if there is no such script; a token that may not read is not in the way."""
    try:
        client.call("GET", path)
    except ApiError as error:
        if error.name != "forbidden":
            raise


def _show_log(client: Client, invocation: str) -> None:
    """Of one invocation, oldest line first; nothing for a token that may not read it."""
    try:
        lines = client.visible_items(f"{API}/logs?invocation={invocation}")
    except ApiError as error:  # the answer was shown, and stays one
        click.echo(f"the log cannot be shown: {error}", err=True)
        return
    for line in reversed(lines):
        click.echo(log_text(line), err=True)
