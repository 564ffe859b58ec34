"""What a listing looks like: a table on a terminal, tab-separated elsewhere, JSON if asked for."""

import json
import sys
from collections.abc import Iterable, Sequence
from typing import Any

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON, one document.")


def show_rows(items: Iterable[dict[str, Any]], columns: Sequence[str], as_json: bool) -> None:
    """Print the named columns of each item."""
    items = list(items)
    if as_json:
        show_json(items)
    elif sys.stdout.isatty():
        table = Table(*columns, box=None, pad_edge=False)
        for item in items:
            table.add_row(*(Text(_text(item[column])) for column in columns))  # what looks like markup is none
        Console().print(table)
    else:
        for item in items:
            click.echo("\t".join(_text(item[column]) for column in columns))


def show_json(value: object) -> None:
    """Print one JSON document."""
    click.echo(json.dumps(value, indent=2, ensure_ascii=False))


def harmless(text: str) -> str:
    """No control character of a script reaches a terminal; a text's own lines are set in."""
    shown = (one if one.isprintable() or one in "\t\n" else repr(one)[1:-1] for one in text)
    return "".join(shown).replace("\n", "\n    ")


def _text(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.1f}"
    return "" if value is None else harmless(str(value)).replace("\t", " ").replace("\n    ", " ")
