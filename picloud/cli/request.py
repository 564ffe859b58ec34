"""What a person says of a request: its body and its headers."""

import re
import sys
from pathlib import Path
from typing import Any

import click

Header = tuple[str, str]  # lower-case name, value
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,32}")
_FIELD = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*(.*?)[ \t]*")

data_option = click.option(
    "--data", default="", help="The request's body; '@FILE' reads it from a file, '@-' from standard input."
)


class HeaderType(click.ParamType[Header]):
    """Name: value, as curl takes it."""

    name = "name: value"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Header:
        """The two of them."""
        if isinstance(value, tuple):
            return value
        found = _FIELD.fullmatch(str(value))
        if not found or not found[2].isprintable():
            self.fail(f"{value!r} is no header: write 'Name: value'", param, ctx)
        return found[1].lower(), found[2].encode().decode("latin-1")  # as HTTP carries it


def read_data(data: str) -> bytes:
    """The body that --data names."""
    if data == "@-":
        return sys.stdin.buffer.read()
    if not data.startswith("@"):
        return data.encode()
    try:
        return Path(data[1:]).read_bytes()
    except OSError as error:
        raise click.BadParameter(f"{data[1:]}: {error.strerror}", param_hint="--data") from error


def printable(_ctx: click.Context, _param: click.Parameter, text: str) -> str:
    """A callback of click: no control characters."""
    if not text.isprintable():
        raise click.BadParameter("must not have control characters")
    return text


def method(_ctx: click.Context, _param: click.Parameter, text: str | None) -> str | None:
    """A callback of click: an HTTP method, in upper case."""
    if text is not None and not _TOKEN.fullmatch(text):
        raise click.BadParameter(f"{text!r} is no method")
    return text and text.upper()


def path(_ctx: click.Context, _param: click.Parameter, text: str | None) -> str | None:
    """A callback of click: an absolute path."""
    if text is not None and not text.startswith("/"):
        raise click.BadParameter("must begin with '/'")
    return text
