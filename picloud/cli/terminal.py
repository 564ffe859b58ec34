"""What others wrote, made safe for a terminal: names of files, what scripts log, what a server answers.

Imports next to nothing: an error needs no tables.
"""

import json

import click

from picloud.errors import PicloudError


class Drawn(PicloudError):
    """An error whose words are a picture of several lines, in which what others wrote is harmless already."""


def harmless(text: str) -> str:
    """No control character of somebody else reaches a terminal; a text's own lines are set in."""
    shown = (one if one.isprintable() or one in "\t\n" else repr(one)[1:-1] for one in text)
    return "".join(shown).replace("\n", "\n    ")


def harmless_lines(text: str) -> str:
    """The same for a whole text of several lines."""
    return harmless(text).replace("\n    ", "\n")


def json_text(value: object, indent: int | None = None) -> str:
    """JSON in which only what can be printed stands as it is."""
    text = json.dumps(value, indent=indent, ensure_ascii=False)
    return "".join(one if one.isprintable() or one == "\n" else json.dumps(one)[1:-1] for one in text)


def say_error(error: Exception) -> None:
    """Tell on standard error what went wrong."""
    click.secho("error: ", fg="red", bold=True, nl=False, err=True)
    click.echo(str(error) if isinstance(error, Drawn) else harmless(str(error)), err=True)
