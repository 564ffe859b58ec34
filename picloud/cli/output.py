"""What the command line prints: tables on a terminal, tab-separated elsewhere, JSON if asked for; nothing hostile."""

import contextlib
import json
import sys
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import click
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from picloud.cli.terminal import harmless, json_text

_PATIENCE_S = 0.5
_FREE = frozenset(("error", "scopes", "scripts", "value"))  # columns that may be folded
_FREE_WIDTH_MIN = 20
_GAP = 2  # between columns

as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON, one document.")

newest = click.option(
    "-n",
    "--lines",
    metavar="N",
    type=click.IntRange(min=1),
    default=50,
    show_default=True,
    help="How many, the newest.",
)


def show_rows(items: Iterable[dict[str, Any]], columns: Sequence[str], as_json: bool) -> None:
    """Print the named columns of each item."""
    items = list(items)
    if as_json:
        show_json(items)
    elif sys.stdout.isatty():
        _show_table([[_text(item[column]) for column in columns] for item in items], columns)
    else:
        for item in items:
            click.echo("\t".join(_text(item[column]) for column in columns))


def show_fields(value: object, prefix: str = "") -> None:
    """Print a nested mapping as lines `a.b: value`; a list as JSON."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            show_fields(inner, f"{prefix}.{key}" if prefix else str(key))
    else:
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        click.echo(f"{harmless(prefix)}: {harmless(text)}")


def show_json(value: object) -> None:
    """Print one JSON document."""
    click.echo(json_text(value, indent=2))


def show_body(body: bytes) -> None:
    """Print an answer as it is; on a terminal the line is ended."""
    show_pieces((body,))


def show_pieces(pieces: Iterable[bytes]) -> None:
    """The same of one that comes in pieces, each at once."""
    last = b"\n"
    for piece in pieces:
        click.echo(piece, nl=False)  # which flushes
        last = piece or last
    if not last.endswith(b"\n") and sys.stdout.isatty():
        click.echo()


@contextlib.contextmanager
def patiently(what: str) -> Iterator[None]:
    """Say on a terminal what takes so long, once it does."""
    if not sys.stderr.isatty():
        yield
        return
    status = Console(stderr=True).status(what)
    timer = threading.Timer(_PATIENCE_S, status.start)
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        timer.join()
        status.stop()


def _show_table(rows: list[list[str]], columns: Sequence[str]) -> None:
    """Free text is folded. The rest is whole, also where the terminal has to break the line: it is to be copied."""
    table = Table(box=None, pad_edge=False)
    whole = _GAP * (len(columns) - 1)
    for column, *cells in zip(columns, *rows, strict=True):
        is_free, width = column in _FREE, max(map(cell_len, (column, *cells)))
        table.add_column(column, overflow="fold", no_wrap=not is_free)
        whole += min(width, _FREE_WIDTH_MIN) if is_free else width
    for row in rows:
        table.add_row(*map(Text, row))  # what looks like markup is none
    console = Console()
    console.width = max(console.width, whole)
    console.print(table)


def _text(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.1f}"
    text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
    return "" if value is None else harmless(text).replace("\t", " ").replace("\n    ", " ")
