"""`picloud doctor`: what this machine gives, and what it lacks; with `--idle`, what PiCloud costs it at rest."""

import sys
from collections.abc import Sequence

import click

from picloud.cli.idle import as_document, report
from picloud.cli.idle_table import show_report
from picloud.cli.output import as_json, show_json
from picloud.executor import protections
from picloud.executor.protections import Protection
from picloud.settings import load


@click.command()
@click.option("--idle", is_flag=True, help="Measure instead whether PiCloud rests: wake-ups, CPU, writes, SQL, memory.")
@click.option(
    "--seconds",
    metavar="N",
    type=click.IntRange(1, 86_400),
    default=10,
    show_default=True,
    help="With --idle: for how long.",
)
@as_json
def doctor(idle: bool, seconds: int, as_json: bool) -> None:
    """Show which protections sandboxes have on this machine. Exit 1 if one without which nothing runs is missing.

    With '--idle' it watches the PiCloud that runs here for some seconds, and exits 1 if it did not rest.
    """
    if idle:
        _measure(seconds, as_json)
    else:
        _inspect(as_json)


def _measure(seconds: int, as_json: bool) -> None:
    seen = report(load(), seconds)
    if as_json:
        show_json(as_document(seen))
    else:
        show_report(seen)
    if seen.broken:
        sys.exit(1)


def _inspect(as_json: bool) -> None:
    found = protections.inspect(load())
    if as_json:
        show_json(
            [{"name": it.name, "active": it.active, "required": it.required, "reason": it.reason} for it in found]
        )
    else:
        for it in found:
            state = click.style("ok", fg="green") if it.active else _missing(it.required)
            click.echo(f"{it.name:24} {state}  {it.reason}".rstrip())
        for advice, names in _to_do(found).items():
            click.echo(f"{', '.join(names)}: {advice}")
    if any(it.required and not it.active for it in found):
        click.echo("PiCloud refuses to run scripts here: a required protection is missing.", err=True)
        sys.exit(1)


def _missing(required: bool) -> str:
    return click.style("MISSING", fg="red", bold=True) if required else click.style("weaker", fg="yellow")


def _to_do(found: Sequence[Protection]) -> dict[str, list[str]]:
    """What to do → the protections that it brings back."""
    advised: dict[str, list[str]] = {}
    for it in found:
        if not it.active and it.advice:
            advised.setdefault(it.advice, []).append(it.name)
    return advised
