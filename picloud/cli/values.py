"""`picloud kv …`: what a script keeps."""

import json
import sys
from typing import Any
from urllib.parse import quote, urlencode

import click

from picloud.cli.client import connect, refused, script_path
from picloud.cli.completion import script_argument
from picloud.cli.output import as_json, show_json, show_rows
from picloud.cli.terminal import harmless

_BYTES = "application/octet-stream"
_COLUMNS = ("key", "value", "version", "bytes", "expires_at")

in_space = click.option("--space", metavar="NAME", default="", help="A shared space; without it, the script's own.")


@click.group()
def kv() -> None:
    """Keys and values that a script keeps."""


@kv.command("ls")
@script_argument
@click.option("--prefix", metavar="TEXT", default="", help="Keys that begin with this.")
@in_space
@as_json
def ls(name: str, prefix: str, space: str, as_json: bool) -> None:
    """List keys with their values, in the order of the keys."""
    found = list(connect().items(_path(name, "", prefix=prefix, space=space)))
    if as_json:
        show_json(found)
    else:
        show_rows([{**it, "value": _shown(it)} for it in found], _COLUMNS, as_json=False)


@kv.command("get")
@script_argument
@click.argument("key")
@in_space
def get(name: str, key: str, space: str) -> None:
    """Print a value: JSON, or bytes as they are."""
    answer = connect().send("GET", _path(name, key, space=space))
    if answer.status >= 400:
        raise refused(answer)
    is_json = answer.headers.get("content-type") != _BYTES
    click.echo(answer.data, nl=is_json)


@kv.command("set")
@script_argument
@click.argument("key")
@click.argument("value")
@click.option("--ttl", metavar="SECONDS", type=click.IntRange(min=1), help="In how many seconds it is gone.")
@in_space
def set_(name: str, key: str, value: str, ttl: int | None, space: str) -> None:
    """Store a value: JSON, or else text. '-' reads text or bytes from standard input."""
    content, media_type = _content(value)
    path = _path(name, key, space=space, ttl=ttl or "")
    stored = connect().call("PUT", path, content, {"content-type": media_type})
    click.echo(f"{name}: {harmless(key)} is version {stored['version']}")


@kv.command("rm")
@script_argument
@click.argument("keys", metavar="KEY…", nargs=-1, required=True)
@in_space
def rm(name: str, keys: tuple[str, ...], space: str) -> None:
    """Remove keys."""
    client = connect()
    for key in keys:
        client.call("DELETE", _path(name, key, space=space))
    click.echo(f"{name}: {harmless(', '.join(keys))} removed")


def _path(name: str, key: str, **asked: object) -> str:
    query = urlencode({word: value for word, value in asked.items() if value})
    place = "/" + "/".join(map(_segment, key.split("/"))) if key else ""
    return f"{script_path(name)}/kv{place}" + (f"?{query}" if query else "")


def _segment(part: str) -> str:
    """Of a path; one of dots alone would be taken for a way up."""
    return part.replace(".", "%2E") if part in (".", "..") else quote(part, safe="")


def _content(value: str) -> tuple[bytes, str]:
    if value == "-":
        return sys.stdin.buffer.read(), _BYTES
    try:
        json.loads(value)
    except ValueError:
        return value.encode(), _BYTES
    return value.encode(), "application/json"


def _shown(it: dict[str, Any]) -> str:
    if "value_base64" in it:
        return f"base64:{it['value_base64']}"
    return json.dumps(it["value"], ensure_ascii=False)
