"""`picloud secret …`: values that scripts are granted by name. None is ever an argument: process lists show those."""

import contextlib
import json
import sys

import click

from picloud.cli.client import API, connect
from picloud.cli.ground import database
from picloud.cli.output import as_json, show_rows
from picloud.errors import PicloudError
from picloud.manager.secrets import NAME_RULE, rotate
from picloud.model import is_variable_name
from picloud.sealing import KeyFile
from picloud.settings import load
from picloud.storage.migrate import migrate
from picloud.storage.pool import Pool
from picloud.storage.secrets import SecretTable

_SECRETS = f"{API}/secrets"
_COLUMNS = ("name", "created_at", "updated_at", "scripts")


@click.group()
def secret() -> None:
    """Values that scripts are granted by name, and that nobody can read back."""


@secret.command("ls")
@as_json
def ls(as_json: bool) -> None:
    """List the secrets and which scripts are granted them; no values."""
    show_rows(connect().items(_SECRETS), _COLUMNS, as_json)


@secret.command("set")
@click.argument("name")
def set_(name: str) -> None:
    """Set a secret to what is typed, unseen, or comes on standard input, without the line break at its end."""
    path = _path(name)
    body = json.dumps({"value": _value(name)}).encode()
    kept = connect().call("PUT", path, body, {"content-type": "application/json"})
    scripts = ", ".join(kept["scripts"]) or "no script yet: name it in a script's setting 'secrets' or 'webhook'"
    click.echo(f"{name} is set; granted to {scripts}")


@secret.command("rm")
@click.argument("name")
def rm(name: str) -> None:
    """Forget a secret: scripts get nil for it from now on."""
    connect().call("DELETE", _path(name))
    click.echo(f"{name} is forgotten")


@secret.command("rotate-key")
@click.option("--reseal", is_flag=True, help="Leave the key file alone, and seal all values with its first key.")
def rotate_key(reseal: bool) -> None:
    """Replace the key that all values are sealed with. On the server's machine, whether it runs or not."""
    settings = load()
    keys = KeyFile(settings.secret_key)
    keys.check()
    with database(settings) as dsn:
        migrate(dsn)
        with contextlib.closing(Pool(dsn, size=1, wait_ms=5_000)) as pool:
            table = SecretTable(pool)
            count = table.reseal(keys.reseal) if reseal else rotate(keys, table)
    click.echo(f"{count} secrets are sealed with the {'first' if reseal else 'new'} key of {settings.secret_key}")


def _path(name: str) -> str:
    if not is_variable_name(name):  # which may be NAME=VALUE: not to be repeated, nor sent
        raise click.UsageError(f"this cannot be a secret's name: {NAME_RULE}; its value comes on standard input")
    return f"{_SECRETS}/{name}"


def _value(name: str) -> str:
    if sys.stdin.isatty():
        return str(click.prompt(f"Value of {name}", hide_input=True, err=True))
    try:
        return sys.stdin.buffer.read().decode().removesuffix("\n")
    except UnicodeDecodeError:
        raise PicloudError("a secret must be UTF-8 text: encode other bytes as base64") from None
