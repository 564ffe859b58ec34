"""`picloud route …`: which method, host and path reach which script."""

import json
from typing import Any
from urllib.parse import quote

import click

from picloud.cli.client import API, ApiError, Client, connect
from picloud.cli.completion import script_argument
from picloud.cli.output import as_json, show_rows
from picloud.cli.terminal import harmless
from picloud.errors import InvalidRequest, PicloudError
from picloud.patterns import ANY, RouteWanted

_ROUTES = f"{API}/routes"


class RouteType(click.ParamType[RouteWanted]):
    """'GET /hi/{name}', or a path alone for any method."""

    name = "route"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> RouteWanted:
        """Read and check one."""
        try:
            return value if isinstance(value, RouteWanted) else wanted_route(str(value))
        except InvalidRequest as error:
            self.fail(str(error), param, ctx)


def wanted_route(text: str, host: str | None = None) -> RouteWanted:
    """The route that words mean; InvalidRequest."""
    *method, path = text.split() or [""]
    if len(method) > 1 or not path.startswith("/"):
        raise InvalidRequest(f"{text!r} is no route: write a method and a path, such as 'GET /hi/{{name}}'")
    return RouteWanted(method[0] if method else ANY, host, path)


ROUTE = RouteType()


@click.group()
def route() -> None:
    """Let scripts answer at paths of your choice."""


@route.command("ls")
@as_json
def ls(as_json: bool) -> None:
    """List the routes."""
    show_rows(connect().items(_ROUTES), ("id", "method", "host", "path", "script"), as_json)


@route.command("add")
@click.argument("pattern", metavar="'METHOD PATH'")
@script_argument
@click.option("--host", metavar="HOST", help="Only on this host; without it, on every one.")
def add(pattern: str, name: str, host: str | None) -> None:
    """Let a script answer at a path: 'GET /hi/{name}', '/files/{rest*}'. Without a method, at any."""
    wanted = _asked(pattern, host)
    ensure_route(connect(), wanted, name)
    click.echo(f"{wanted} → {name}")


route.add_command(add, "set")


@route.command("rm")
@click.argument("route", metavar="ID|'METHOD PATH'")
@click.option("--host", metavar="HOST", help="The route's host, if it is not every one.")
def rm(route: str, host: str | None) -> None:
    """Remove a route, by its id or by what it matches."""
    client = connect()
    is_id = route.isascii() and route.isdigit()
    identifier = int(route) if is_id else _identifier(client, _asked(route, host))
    client.call("DELETE", f"{_ROUTES}/{identifier}")
    click.echo(f"route {route} is removed")


def ensure_route(client: Client, wanted: RouteWanted, script: str) -> None:
    """Add a route; the very same may be there already. ApiError if it clashes with another."""
    document = {"method": wanted.method, "host": wanted.host, "path": wanted.path, "script": script}
    try:
        added = client.call("POST", _ROUTES, json.dumps(document).encode(), {"content-type": "application/json"})
        _ = added["id"]  # or it was no PiCloud
    except ApiError as error:
        if error.name != "conflict" or not any(_is(it, wanted) for it in routes_of(client, script)):
            raise


def routes_of(client: Client, script: str) -> list[dict[str, Any]]:
    """The routes to a script; none for a token that may not read."""
    return client.visible_items(f"{_ROUTES}?script={quote(script)}")


def words(route: dict[str, Any]) -> str:
    """A route for a person."""
    return harmless(f"{route['method']} {route['host'] or ''}{route['path']}")


def _asked(text: str, host: str | None) -> RouteWanted:
    try:
        return wanted_route(text, host)
    except InvalidRequest as error:
        raise click.UsageError(str(error)) from error


def _is(route: dict[str, Any], wanted: RouteWanted) -> bool:
    return (route["method"], route["host"], route["path"]) == (wanted.method, wanted.host, wanted.path)


def _identifier(client: Client, wanted: RouteWanted) -> int:
    for route in client.items(_ROUTES):
        if _is(route, wanted):
            return int(route["id"])
    raise PicloudError(f"there is no route '{wanted}'; 'picloud route ls' lists them")
