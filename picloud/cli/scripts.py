"""Commands for scripts on a running PiCloud."""

import json
import re
import shlex
import sys
import time
from pathlib import Path
from typing import Any
from urllib.parse import quote

import click

from picloud.cli.client import ApiError, Client, connect, describe
from picloud.cli.output import as_json, show_json, show_rows
from picloud.cli.records import log_text
from picloud.errors import PicloudError
from picloud.model import is_script_name

_API = "/api/v1"
_LOGS_APPEAR_WITHIN_S = 2.0


@click.command()
@click.argument("path", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--name", help="The script's name; without it, the file's.")
def deploy(path: Path, name: str | None) -> None:
    """Upload a Lua file as the new active version of a script."""
    client = connect()
    name = name or script_name_of(path)
    done = client.call("PUT", _path(name), path.read_bytes(), {"content-type": "text/x-lua"})
    where = done["url"] if client.url.startswith("unix:") else client.url + done["url"]
    click.echo(f"{name} version {done['version']} is live at {where}")
    click.echo(f"  {curl_line(client.url, done['url'])}")


@click.command()
@click.argument("name")
@click.option("--data", default="", help="The request's body; '@FILE' reads it from a file, '@-' from standard input.")
@click.option("--content-type", default="application/json", show_default=True, callback=lambda *it: _printable(it[-1]))
def invoke(name: str, data: str, content_type: str) -> None:
    """Run a script once: its answer to stdout, its log to stderr. Exit 1 if the answer's status is 400 or more."""
    client = connect()
    answer = client.send("POST", _path(name) + "/invoke", _body(data), {"content-type": content_type})
    if answer.status >= 400 and "picloud-invocation" not in answer.headers:  # it did not run
        raise ApiError(describe(answer))
    sys.stdout.buffer.write(answer.data)
    if answer.data and not answer.data.endswith(b"\n") and sys.stdout.isatty():
        click.echo()
    invocation = answer.headers.get("picloud-invocation")
    if invocation:
        for line in _logs_of(client, invocation):
            click.echo(log_text(line), err=True)
    if answer.status >= 400:
        sys.exit(1)


@click.command()
@as_json
def ls(as_json: bool) -> None:
    """List the scripts."""
    show_rows(connect().items(f"{_API}/scripts"), ("name", "active_version", "url", "updated_at"), as_json)


@click.command()
@click.argument("name")
@as_json
def show(name: str, as_json: bool) -> None:
    """Show a script: its active version, settings and latest invocations."""
    client = connect()
    script = client.call("GET", _path(name))
    script["invocations"] = list(client.items(f"{_API}/invocations?script={quote(name)}", 5))
    if as_json:
        show_json(script)
        return
    for key in ("name", "active_version", "url", "created_at", "updated_at"):
        click.echo(f"{key}: {script[key]}")
    for key, value in script["settings"]["limits"].items():
        click.echo(f"limits.{key}: {value}")
    for name_ in sorted(script["settings"]["env"]):
        click.echo(f"env.{name_}: set")
    columns = ("started_at", "version", "outcome", "status", "run_ms", "error")
    click.echo("latest invocations:")
    show_rows(script["invocations"], columns, as_json=False)


@click.command()
@click.argument("name")
@as_json
def versions(name: str, as_json: bool) -> None:
    """List a script's versions, newest first."""
    columns = ("version", "sha256", "bytes", "created_at", "created_by")
    show_rows(connect().items(_path(name) + "/versions"), columns, as_json)


@click.command()
@click.argument("name")
@click.argument("version", type=click.IntRange(min=1), required=False)
def rollback(name: str, version: int | None) -> None:
    """Make an older version the active one; without a number, the one before the active."""
    client = connect()
    wanted = version or _version_before(client, name)
    client.call("PUT", _path(name) + "/active", json.dumps({"version": wanted}).encode())
    click.echo(f"{name} version {wanted} is live")


@click.command()
@click.argument("name")
@click.option("--yes", is_flag=True, help="Do not ask.")
def rm(name: str, yes: bool) -> None:
    """Delete a script with its versions and settings; its invocations stay."""
    if not yes:
        click.confirm(f"Delete '{name}' with all its versions?", abort=True)
    connect().call("DELETE", _path(name))
    click.echo(f"{name} is deleted")


COMMANDS = (deploy, invoke, ls, show, versions, rollback, rm)


def curl_line(url: str, path: str) -> str:
    """A line for a shell that calls a script."""
    if url.startswith("unix:"):
        return f"curl --unix-socket {shlex.quote(url.removeprefix('unix:'))} http://localhost{path}"
    return f"curl {url}{path}"


def _path(name: str) -> str:
    if not is_script_name(name):  # in a URL it could reach another script
        raise PicloudError(f"there is no script {name!r}, and there cannot be one of this name")
    return f"{_API}/scripts/{name}"


def script_name_of(path: Path) -> str:
    """The script that a file is for: its name, as far as a script may have it."""
    name = re.sub(r"[^a-z0-9]+", "-", path.stem.lower()).strip("-")[:63]
    if not name:
        raise PicloudError(f"no script can be named after '{path.name}'; say --name NAME")
    return name


def _printable(text: str) -> str:
    if not text.isprintable():
        raise click.BadParameter("must not have control characters")
    return text


def _body(data: str) -> bytes:
    if data == "@-":
        return sys.stdin.buffer.read()
    if not data.startswith("@"):
        return data.encode()
    try:
        return Path(data[1:]).read_bytes()
    except OSError as error:
        raise click.BadParameter(f"{data[1:]}: {error.strerror}", param_hint="--data") from error


def _version_before(client: Client, name: str) -> int:
    active = client.call("GET", _path(name))["active_version"]
    older = [it["version"] for it in client.items(_path(name) + "/versions") if it["version"] < active]
    if not older:
        raise PicloudError(f"'{name}' has no version before {active}")
    return int(older[0])


def _logs_of(client: Client, invocation: str) -> list[dict[str, Any]]:
    """The lines of one invocation, once its record is there: records are written in batches."""
    until = time.monotonic() + _LOGS_APPEAR_WITHIN_S
    while client.send("GET", f"{_API}/invocations/{invocation}").status == 404 and time.monotonic() < until:
        time.sleep(0.05)
    try:
        return list(client.items(f"{_API}/logs?invocation={invocation}"))[::-1]
    except ApiError:  # the token may invoke and not read
        return []
