"""`picloud run`: one sandboxed run of what lies on disk, without a server and without a database.

An executor of its own serves in a temporary folder for as long as the run takes; nothing of it stays.
"""

import contextlib
import dataclasses
import json
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NoReturn
from urllib.parse import unquote_to_bytes

import click
import msgspec

from picloud.cli import request
from picloud.cli.bundle import Refused, read_source, script_name_of
from picloud.cli.output import show_body, show_pieces
from picloud.cli.parts import executor_part, stop_undisturbed
from picloud.cli.reaching import host_calls
from picloud.cli.request import Header, HeaderType, data_option, read_data
from picloud.cli.settings import ASSIGNMENT, Assignments, nested
from picloud.cli.syntax import NotCompiled
from picloud.cli.terminal import harmless
from picloud.declared import Declared
from picloud.errors import InvalidRequest, PlatformError
from picloud.executor.client import SandboxClient
from picloud.manager import manifest
from picloud.manager.settings import SettingsPatch, SettingsRules
from picloud.messages.wrong import invalid
from picloud.model import (
    HeaderList,
    LogLine,
    Outcome,
    Policy,
    Program,
    Request,
    Response,
    Route,
    Run,
    Settings,
    Stream,
    new_id,
)
from picloud.orchestrator.streaming import has_no_body, unmade
from picloud.orchestrator.tree import RouteTree
from picloud.patterns import RouteWanted, host_of
from picloud.settings import ServerSettings, load

_QUEUE_MS = 10_000


@click.command()
@click.argument("path", metavar="FILE|DIR", type=click.Path(exists=True, path_type=Path))
@data_option
@click.option("--method", metavar="METHOD", callback=request.method, help="GET, or POST if there is --data.")
@click.option("--path", "at", metavar="PATH", callback=request.path, help="The whole path; without it, /fn/NAME.")
@click.option("--query", metavar="QUERY", default="", help="What stands behind the '?': 'name=Ada&n=3'.")
@click.option(
    "--header", "headers", type=HeaderType(), metavar="HEADER", multiple=True, help="'Name: value'. Repeatable."
)
@click.option(
    "--env", "variables", type=ASSIGNMENT, metavar="NAME=VALUE", multiple=True, help="A variable. Repeatable."
)
@click.option(
    "--set",
    "changes",
    type=ASSIGNMENT,
    metavar="KEY=VALUE",
    multiple=True,
    help="A setting, such as limits.wall_ms=500. Repeatable.",
)
@click.option("-i", "--include", is_flag=True, help="Print the status and the headers, too.")
def run(
    path: Path,
    data: str,
    method: str | None,
    at: str | None,
    query: str,
    headers: tuple[Header, ...],
    variables: Assignments,
    changes: Assignments,
    include: bool,
) -> None:
    """Run a Lua file or folder once, here: its answer to stdout, its log to stderr. It needs no server.

    Exit 1 if the answer's status is 400 or more, or if there is none.
    """
    source, server = read_source(path), load()
    declared = manifest.read(source.files, SettingsRules(server.policy), script=_name(path))
    settings = _settings(declared, changes, variables, server.policy)
    body = read_data(data)
    wanted = at or f"/fn/{_name(path)}"
    asked = _request(method or ("POST" if body else "GET"), wanted, query, headers, body, declared.routes or ())
    with _private_executor(server) as executor:
        if problem := executor.check(source.files):
            raise NotCompiled(source, problem)
        program = Program("run", 1, source.files, settings)
        done = executor.run(program, asked, _show_line, host_calls(server, program, asked))
        if done.response:
            done = _show(asked, done, done.response, include)
    if done.outcome is not Outcome.OK:
        _explain(done)
    sys.exit(1 if done.response is None or done.response.status >= 400 or done.outcome is not Outcome.OK else 0)


@contextlib.contextmanager
def _private_executor(server: ServerSettings) -> Iterator[SandboxClient]:
    """Sandboxes for us alone; when this ends, however, no process and no file of theirs is left."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _end)
    with contextlib.ExitStack() as stack:
        folder = Path(tempfile.mkdtemp(prefix="picloud-run-"))
        settings = dataclasses.replace(server, data=folder, database_url="", pool_spare=2, pool_max=2)
        for mine in (folder, settings.run_dir):
            stack.callback(shutil.rmtree, mine, ignore_errors=True)
        settings.run_dir.mkdir(mode=0o700, exist_ok=True)
        log = stack.enter_context((folder / "log").open("w+b"))
        part = executor_part(settings, log)
        stack.callback(stop_undisturbed, part)
        try:
            part.start()
        except PlatformError:
            log.seek(0)
            click.echo(log.read(), nl=False, err=True)
            raise
        yield SandboxClient(settings.executor_socket, queue_ms=_QUEUE_MS)


def _end(number: int, _frame: object) -> NoReturn:
    raise SystemExit(128 + number)


def _settings(declared: Declared, changes: Assignments, variables: Assignments, policy: Policy) -> Settings:
    """What the bundle says, then what the command line says, else the defaults; held to what a server would allow."""
    wanted = nested([*changes, *((f"env.{name}", json.dumps(text)) for name, text in variables)])
    stored = declared.settings({}) if declared.settings else {}
    try:
        patch = msgspec.convert(wanted, SettingsPatch)
        stored = SettingsRules(policy).change(patch)(stored)
    except msgspec.ValidationError as error:
        raise click.BadParameter(str(invalid(SettingsPatch, error, "")), param_hint="--set") from error
    except InvalidRequest as error:
        raise click.BadParameter(str(error), param_hint="--set") from error
    return policy.hold(stored)


def _name(path: Path) -> str:
    """The script's; what could not be deployed under its own name is run all the same."""
    try:
        return script_name_of(path)
    except Refused:
        return "run"


def _request(
    method: str, path: str, query: str, headers: tuple[Header, ...], body: bytes, routes: Iterable[RouteWanted]
) -> Request:
    """As ingress would make it of HTTP."""
    about_body = {"content-type": "application/json", "content-length": str(len(body))} if body else {}
    sent = about_body | dict(headers)  # of repeats the last
    segments = [unquote_to_bytes(segment).decode("latin-1") for segment in path.split("/")]
    host = sent.get("host", "localhost")
    return Request(
        id=new_id(),
        method=method,
        path="/".join(segments),
        query_string=query,
        headers=tuple(sent.items()),
        body=body,
        host=host,
        remote_addr="127.0.0.1",
        params=_params(method, host_of(host), segments[1:], routes),
    )


def _params(method: str, host: str, segments: list[str], routes: Iterable[RouteWanted]) -> HeaderList:
    """Of the bundle's own route, or what follows /fn/NAME/."""
    if segments[0] == "fn":
        return (("rest", "/".join(segments[2:])),) if segments[2:] else ()
    tree = RouteTree(Route(at, it.method, it.host, it.path, "") for at, it in enumerate(routes))
    found = tree.find(host, method, segments)
    return found.params if found else ()


def _show(asked: Request, done: Run, answer: Response, include: bool) -> Run:
    """Print an answer, a stream as it is made → the run at its end."""
    if include:
        click.echo(f"HTTP {answer.status}")
        for name, value in answer.headers:
            click.echo(harmless(f"{name}: {value}"))
        click.echo()
    if done.stream is None:
        show_body(answer.body)
        return done
    return unmade(done) if has_no_body(asked, done) else _show_pieces(done.stream, answer)


def _show_pieces(stream: Stream, answer: Response) -> Run:
    try:
        show_pieces(stream.pieces())
    finally:
        end = stream.close()
    return dataclasses.replace(end, response=answer)


def _show_line(line: LogLine) -> None:
    fields = f" {harmless(line.fields)}" if line.fields else ""
    click.echo(f"{line.level:5} {harmless(line.message)}{fields}", err=True)


def _explain(done: Run) -> None:
    click.secho("error: ", fg="red", bold=True, nl=False, err=True)
    click.echo(f"{harmless(done.detail)} ({done.outcome})", err=True)
    if done.traceback:
        click.echo(f"    {harmless(done.traceback)}", err=True)
