"""`picloud dead …`: jobs that failed as often as they may."""

import json
from collections.abc import Iterator
from urllib.parse import urlencode

import click

from picloud.cli.client import API, ApiError, Client, connect, refused
from picloud.cli.completion import ScriptName
from picloud.cli.jobs import job_argument, show_job, show_jobs
from picloud.cli.output import as_json, newest, show_json
from picloud.cli.records import log_text
from picloud.cli.request import read_data
from picloud.errors import PicloudError

_LETTERS = f"{API}/dead-letters"
_GONE = ("not-found", "conflict")  # somebody else was faster

_all = click.option("--all", "every", is_flag=True, help="All of them, instead of some by their ids.")
_of_script = click.option(
    "--script", "name", metavar="NAME", type=ScriptName(), default="", help="With --all: those of one script."
)


@click.group()
def dead() -> None:
    """Dead letters: jobs that failed as often as they may."""


@dead.command("ls")
@click.argument("name", type=ScriptName(), required=False, default="")
@newest
@as_json
def ls(name: str, lines: int, as_json: bool) -> None:
    """List dead letters, newest first, of all scripts or of one."""
    show_jobs(_LETTERS, name, lines, as_json)


@dead.command("show")
@job_argument
@as_json
def show(identifier: object, as_json: bool) -> None:
    """Show a dead letter with its request, its runs and the log of its last one."""
    it = connect().call("GET", f"{_LETTERS}/{identifier}")
    if as_json:
        show_json(it)
        return
    show_job(it)
    if it["logs"]:
        click.echo("log:")
    for line in it["logs"]:
        click.echo(log_text(line))


@dead.command("retry")
@click.argument("identifiers", metavar="[ID…]", type=click.UUID, nargs=-1)
@click.option(
    "--data", help="JSON in place of the body that it had; '@FILE' reads it from a file, '@-' from standard input."
)
@_all
@_of_script
def retry(identifiers: tuple[object, ...], data: str | None, every: bool, name: str) -> None:
    """Queue dead letters again, due now and with all of their attempts."""
    _check(identifiers, every=every, name=name)
    body = None if data is None else _payload(data)
    client = connect()
    for identifier in identifiers:
        _retry(client, identifier, body)
        click.echo(f"job {identifier} is queued again")
    if every:
        count = sum(_retried(client, name, body))
        click.echo("1 job is queued again" if count == 1 else f"{count} jobs are queued again")


@dead.command("purge")
@click.argument("identifiers", metavar="[ID…]", type=click.UUID, nargs=-1)
@_all
@_of_script
def purge(identifiers: tuple[object, ...], every: bool, name: str) -> None:
    """Throw dead letters away."""
    _check(identifiers, every=every, name=name)
    client = connect()
    for identifier in identifiers:
        client.call("DELETE", f"{_LETTERS}/{identifier}")
        click.echo(f"dead letter {identifier} is gone")
    if every:
        click.echo(f"{_purged(client, name)} dead letters are gone")


def _check(identifiers: tuple[object, ...], *, every: bool, name: str) -> None:
    if bool(identifiers) == every:
        raise click.UsageError("name some by their ids, or --all; 'picloud dead ls' lists them")
    if name and not every:
        raise click.UsageError("--script goes with --all")


def _payload(data: str) -> bytes:
    text = read_data(data)
    try:
        json.loads(text)
    except (ValueError, RecursionError) as error:
        raise click.BadParameter(f"this is no JSON: {error}", param_hint="--data") from error
    return b'{"payload": %s}' % text


def _retry(client: Client, identifier: object, body: bytes | None) -> None:
    headers = {} if body is None else {"content-type": "application/json"}
    queued = client.call("POST", f"{_LETTERS}/{identifier}/retry", body, headers)
    _ = queued["id"]  # or it was no PiCloud


def _retried(client: Client, name: str, body: bytes | None) -> Iterator[bool]:
    """Whether each of those that there are now was queued again, and by us."""
    for letter in list(client.items(_path(name)))[::-1]:  # in the order of their sending
        try:
            _retry(client, letter["id"], body)
        except ApiError as error:
            if error.name not in _GONE:
                raise
        else:
            yield True


def _purged(client: Client, name: str) -> int:
    answer = client.send("DELETE", _path(name))
    if answer.status >= 400:
        raise refused(answer)
    count = client.document(answer.data)["purged"]
    if not isinstance(count, int):
        raise PicloudError("what answers is no PiCloud, or one of another version")
    return count


def _path(name: str) -> str:
    return f"{_LETTERS}?{urlencode({'script': name})}" if name else _LETTERS
