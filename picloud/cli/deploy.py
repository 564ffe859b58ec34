"""`picloud deploy`: a file or folder becomes the active version of a script."""

import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import click

from picloud.cli.bundle import Source, new_script_name, read_source, script_name_of
from picloud.cli.client import ApiError, Client, connect, refused, script_path
from picloud.cli.output import patiently
from picloud.cli.routes import ROUTE, ensure_route, routes_of
from picloud.cli.syntax import NotCompiled
from picloud.cli.terminal import harmless
from picloud.model import Access, SyntaxProblem
from picloud.patterns import ANY, RouteWanted


@dataclass(frozen=True, slots=True)
class Deployed:
    """What became of an upload."""

    script: str
    version: int
    path: str  # of its URL
    is_new: bool  # False: the active version has the same files
    is_active: bool

    @property
    def news(self) -> str:
        """The same for a person, without where it is."""
        if not self.is_active:
            return f"{self.script} version {self.version} is stored and not active"
        return f"{self.script} {'' if self.is_new else 'is unchanged: '}version {self.version} is live"


@click.command()
@click.argument("path", type=click.Path(exists=True, path_type=Path))
@click.option("--name", metavar="NAME", help="The script's name; without it, the file's or folder's.")
@click.option(
    "--route",
    "routes",
    type=ROUTE,
    metavar="ROUTE",
    multiple=True,
    help="Also answer at 'GET /hi/{name}' or the like. Repeatable.",
)
@click.option("--no-activate", is_flag=True, help="Store the version; the active one stays.")
def deploy(path: Path, name: str | None, routes: tuple[RouteWanted, ...], no_activate: bool) -> None:
    """Upload a Lua file, or a folder with main.lua, as the new active version of a script."""
    name = script_name_of(path) if name is None else new_script_name(name)
    client = connect()
    done = upload(client, name, read_source(path), activate=not no_activate)
    click.echo(f"{done.news} at {address(client, done.path)}" if done.is_active else done.news)
    for route in routes:  # if one is refused, what is live was said
        _add_route(client, route, done.script)
    if done.is_active:
        show_calls(client, done, routes)
    else:
        click.echo(f"  picloud rollback {done.script} {done.version}")
        _show_routes(routes)


def upload(client: Client, name: str, source: Source, *, activate: bool = True) -> Deployed:
    """Upload what was read; NotCompiled shows the line, ApiError says what else is wrong."""
    body, content_type = source.upload()
    path = script_path(name) + ("" if activate else "?activate=false")
    with patiently(f"uploading {name} ({len(source.files)} files, {source.size} bytes)"):
        answer = client.send("PUT", path, body, {"content-type": content_type})
    if answer.status >= 400:
        raise told(source, refused(answer))
    done = client.document(answer.data)
    return Deployed(
        harmless(str(done["script"])), done["version"], harmless(str(done["url"])), answer.status == 201, activate
    )


def address(client: Client, path: str) -> str:
    """Where a script answers, for a person."""
    return path if client.url.startswith("unix:") else client.url + path


def show_calls(client: Client, done: Deployed, added: Sequence[RouteWanted] = ()) -> None:
    """Print a line for curl and the script's routes, the bundle's own as well.

    `added`: the routes that are known to be there; a token that may not read learns of no others.
    """
    routes = _routes(client, done.script) or added
    route = min(routes, key=lambda it: "{" in it.path, default=None)  # the first that can be called as it is written
    path, options = (route.path, _options(route)) if route else (done.path, "")
    click.echo(f"  {curl_line(client.url, path, wants_token(client, done.script), options)}")
    _show_routes(routes)


def curl_line(url: str, path: str, with_token: bool = False, options: str = "") -> str:
    """A line for a shell that calls a script; `options` are curl's, with a space behind them."""
    if with_token:
        options = f'-H "Authorization: Bearer $PICLOUD_TOKEN" {options}'
    if url.startswith("unix:"):
        place = shlex.join(["--unix-socket", url.removeprefix("unix:"), f"http://localhost{path}"])
        return f"curl {options}{place}"
    return f"curl {options}{shlex.quote(url + path)}"


def wants_token(client: Client, script: str) -> bool:
    """Whether callers of a script need a token; a token that may not read learns nothing."""
    try:
        return bool(client.call("GET", script_path(script))["settings"]["access"] == Access.TOKEN)
    except ApiError:
        return False


def _routes(client: Client, script: str) -> list[RouteWanted]:
    try:
        return [RouteWanted(it["method"], it["host"], it["path"]) for it in routes_of(client, script)]
    except ApiError:  # what was deployed stays so
        return []


def _options(route: RouteWanted) -> str:
    """What curl must be told to take this route."""
    method = {ANY: "", "GET": "", "HEAD": "--head "}.get(route.method, f"-X {shlex.quote(route.method)} ")
    return method + (f"-H {shlex.quote(f'Host: {route.host}')} " if route.host else "")


def _show_routes(routes: Iterable[RouteWanted]) -> None:
    for route in routes:
        click.echo(f"  {route}")


def _add_route(client: Client, route: RouteWanted, script: str) -> None:
    try:
        ensure_route(client, route, script)
    except ApiError as error:
        raise ApiError(f"the route {route}: {error}", error.problem) from error


def told(source: Source, error: ApiError) -> Exception:
    """A refusal as it is to be raised: of what does not compile with the line that is wrong."""
    if error.name != "syntax-error":
        return error
    problem = error.problem
    try:
        message = str(problem["errors"][0]["message"])
        return NotCompiled(source, SyntaxProblem(str(problem["file"]), int(problem["line"]), message))
    except (LookupError, TypeError, ValueError):  # a problem of somebody else, of the same name
        return error
