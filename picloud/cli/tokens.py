"""`picloud token …`: who else may use this PiCloud."""

import json
from datetime import UTC, datetime
from typing import Any

import click

from picloud.auth import Scope
from picloud.cli.client import API, Client, connect
from picloud.cli.completion import ScriptName
from picloud.cli.output import as_json, show_rows
from picloud.cli.terminal import harmless
from picloud.errors import PicloudError
from picloud.messages.moments import read_span

_TOKENS = f"{API}/tokens"
_COLUMNS = ("id", "name", "scopes", "scripts", "created_at", "expires_at", "last_used_at")


class Expiry(click.ParamType[datetime]):
    """`30d`, `12h`, `2027-01-31` or a moment as RFC 3339 writes it."""

    name = "30d|date"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        """A moment; one without an offset is UTC."""
        if isinstance(value, datetime):
            return value
        span = read_span(str(value))
        if span is not None:
            return datetime.now(UTC) + span
        try:
            moment = datetime.fromisoformat(str(value))
        except ValueError:
            self.fail(f"{value!r} is no time: write 30d, 12h, 2027-01-31 or 2027-01-31T12:00:00Z", param, ctx)
        return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


@click.group()
def token() -> None:
    """Tokens that others use this PiCloud with."""


@token.command("ls")
@as_json
def ls(as_json: bool) -> None:
    """List the tokens; their secrets are known to nobody."""
    show_rows(connect().items(_TOKENS), _COLUMNS, as_json)


@token.command("add")
@click.argument("name")
@click.option(
    "--scope",
    "scopes",
    type=click.Choice([str(it) for it in Scope]),
    metavar="SCOPE",
    multiple=True,
    required=True,
    help="What it may do: admin, deploy, invoke or read. Repeatable.",
)
@click.option(
    "--script", "scripts", type=ScriptName(), metavar="NAME", multiple=True, help="Only for this script. Repeatable."
)
@click.option("--expires", type=Expiry(), metavar="WHEN", help="When it ends: 30d, 12h, 2027-01-31. Without it, never.")
def add(name: str, scopes: tuple[str, ...], scripts: tuple[str, ...], expires: datetime | None) -> None:
    """Make a token and print its secret, once; what else there is to say goes to stderr."""
    wanted: dict[str, Any] = {"name": name, "scopes": list(scopes)}
    if scripts:
        wanted["scripts"] = list(scripts)
    if expires:
        wanted["expires_at"] = expires.astimezone(UTC).isoformat(timespec="seconds")
    made = connect().call("POST", _TOKENS, json.dumps(wanted).encode(), {"content-type": "application/json"})
    click.echo(harmless(made["token"]))
    ends = f", until {made['expires_at']}" if made["expires_at"] else ""
    limited = f", for {', '.join(made['scripts'])} only" if made["scripts"] else ""
    click.echo(harmless(f"token {made['id']} '{name}': {', '.join(made['scopes'])}{limited}{ends}"), err=True)
    click.echo("The secret is on standard output, and is not shown again.", err=True)


token.add_command(add, "set")


@token.command("rm")
@click.argument("token", metavar="ID|NAME")
def rm(token: str) -> None:
    """Revoke a token, by its id or its name; it is refused from now on."""
    client = connect()
    identifier = token if token.isascii() and token.isdigit() else _identifier(client, token)
    client.call("DELETE", f"{_TOKENS}/{identifier}")
    click.echo(f"token {token} is revoked")


def _identifier(client: Client, name: str) -> int:
    found = [int(it["id"]) for it in client.items(_TOKENS) if it["name"] == name]
    if len(found) != 1:
        say = f"{len(found)} tokens are named '{name}': give the id" if found else f"no token is named '{name}'"
        raise PicloudError(f"{say}; 'picloud token ls' lists them")
    return found[0]
