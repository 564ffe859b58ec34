"""`picloud settings …` and `picloud env …`: what belongs to a script and not to a version of it."""

import json
import sys
from collections.abc import Iterable, Mapping
from typing import Any

import click

from picloud.cli.client import NotPicloud, connect, script_path
from picloud.cli.completion import script_argument
from picloud.cli.output import as_json, show_fields, show_json
from picloud.errors import PicloudError


class Assignment(click.ParamType[tuple[str, str]]):
    """KEY=VALUE."""

    name = "key=value"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, str]:
        """Split at the first equals sign."""
        if isinstance(value, tuple):
            return value
        key, equals, text = str(value).partition("=")
        if not (key and equals):
            self.fail(f"{value!r} must be KEY=VALUE", param, ctx)
        return key, text


ASSIGNMENT = Assignment()
Assignments = tuple[tuple[str, str], ...]


@click.group()
def settings() -> None:
    """Limits, access, CORS and variables of a script. A rollback does not touch them."""


@settings.command("show")
@script_argument
@as_json
def show(name: str, as_json: bool) -> None:
    """Show a script's settings."""
    found = _settings_of(name)
    show_json(found) if as_json else show_fields(found)


@settings.command("set")
@script_argument
@click.argument("values", metavar="KEY=VALUE…", type=ASSIGNMENT, nargs=-1, required=True)
def set_(name: str, values: Assignments) -> None:
    """Change settings: limits.wall_ms=2000 access=token 'cors.origins=["https://example.org"]'.

    A value is JSON, or else text. KEY=null brings the default back.
    """
    _patch(name, nested(values))
    click.echo(f"{name}: {', '.join(key for key, _ in values)} set")


@click.group()
def env() -> None:
    """Variables of a script, which it reads as env.NAME."""


@env.command("ls")
@script_argument
@as_json
def ls(name: str, as_json: bool) -> None:
    """List a script's variables with their values."""
    found = _settings_of(name)["env"]
    show_json(found) if as_json else show_fields(found)


@env.command("set")
@script_argument
@click.argument("values", metavar="KEY=VALUE…", type=ASSIGNMENT, nargs=-1, required=True)
def set_variables(name: str, values: Assignments) -> None:
    """Set variables. KEY=- reads the value from standard input, without the line break at its end."""
    if sum(text == "-" for _, text in values) > 1:
        raise click.UsageError("standard input can be the value of one variable only")
    _patch(name, {"env": {key: _standard_input() if text == "-" else text for key, text in values}})
    click.echo(f"{name}: {', '.join(key for key, _ in values)} set")


@env.command("rm")
@script_argument
@click.argument("keys", metavar="KEY…", nargs=-1, required=True)
def rm(name: str, keys: tuple[str, ...]) -> None:
    """Remove variables."""
    there = _settings_of(name)["env"]
    if missing := [key for key in keys if key not in there]:
        raise PicloudError(f"'{name}' has no variable {', '.join(missing)}; 'picloud env ls {name}' lists them")
    _patch(name, {"env": dict.fromkeys(keys)})
    click.echo(f"{name}: {', '.join(keys)} removed")


def nested(values: Iterable[tuple[str, str]]) -> dict[str, Any]:
    """`a.b=1` → `{"a": {"b": 1}}`; click.UsageError if one key is another's parent."""
    document: dict[str, Any] = {}
    for key, text in values:
        *parents, last = key.split(".")
        inner = document
        for parent in parents:
            inner = inner.setdefault(parent, {})
            if not isinstance(inner, dict):
                raise click.UsageError(f"{key}: {parent} has a value already")
        if last in inner:
            raise click.UsageError(f"{key} is given twice")
        inner[last] = _value(text)
    return document


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _standard_input() -> str:
    return sys.stdin.buffer.read().decode("utf-8").removesuffix("\n")


def _patch(name: str, changes: Mapping[str, Any]) -> None:
    body = json.dumps(changes).encode()
    _known(connect().call("PATCH", _path(name), body, {"content-type": "application/json"}))


def _settings_of(name: str) -> dict[str, Any]:
    return _known(connect().call("GET", _path(name)))


def _known(found: Any) -> dict[str, Any]:
    """Settings, if they are; NotPicloud."""
    if not isinstance(found["env"], dict) or not isinstance(found["limits"], dict):
        raise NotPicloud("what answers is no PiCloud: its settings are none")
    return dict(found)


def _path(name: str) -> str:
    return f"{script_path(name)}/settings"
