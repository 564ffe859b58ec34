"""What `picloud doctor --idle` shows: one table, PiCloud first, and in words whether the contract holds."""

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from picloud.cli.idle import Report
from picloud.cli.terminal import harmless
from picloud.idle import contract
from picloud.idle.usage import Fate, Usage

_COLUMNS = ("process", "pid", "wake-ups", "switches", "CPU ms", "SQL", "written", "memory")
_NS_A_MS = 1_000_000
_MIB = 1024 * 1024
_UNKNOWN = "?"


def show_report(seen: Report) -> None:
    """Print it."""
    console = Console()
    table = _table(seen)
    console.width = max(console.width, console.measure(table, options=console.options.update(width=500)).maximum)
    console.print(table)
    click.echo()
    for line in _words(seen):
        click.echo(harmless(line))


def _table(seen: Report) -> Table:
    table = Table(box=None, pad_edge=False)
    for number, column in enumerate(_COLUMNS):
        table.add_column(column, justify="right" if number else "left", no_wrap=True)
    for group in dict.fromkeys(it.group for it in (*seen.ours, *seen.others)):
        table.add_row(Text(harmless(group), style="bold"))
        for usage in (it for it in seen.measured.usages if it.group == group):
            table.add_row(*map(Text, _row(seen, usage)), style=None if usage.rested else "yellow")
    table.add_section()
    for name, usages in (("PiCloud", seen.ours), ("PostgreSQL", seen.postgres), ("all", list(seen.measured.usages))):
        table.add_row(*(Text(cell, style="bold") for cell in _sum(seen, name, usages)))
    return table


def _row(seen: Report, usage: Usage) -> tuple[str, ...]:
    fate = "" if usage.fate is Fate.STAYED else f" ({usage.fate})"
    return (f"  {harmless(usage.name)}{fate}", str(usage.pid), *_figures(seen, [usage]))


def _sum(seen: Report, name: str, usages: list[Usage]) -> tuple[str, ...]:
    return (f"{name}: {len(usages)} processes", "", *_figures(seen, usages))


def _figures(seen: Report, usages: list[Usage]) -> tuple[str, ...]:
    written = [it.written_bytes for it in usages]
    memory = [it.pss_bytes for it in usages if it.fate is not Fate.WENT]
    return (
        str(sum(it.voluntary for it in usages)),
        str(sum(it.switches for it in usages)),
        f"{sum(it.cpu_ns for it in usages) / _NS_A_MS:.1f}",
        _statements(seen, usages),
        _UNKNOWN if None in written else str(sum(filter(None, written))),
        _UNKNOWN if None in memory else f"{sum(filter(None, memory)) / _MIB:.1f} MiB",
    )


def _statements(seen: Report, usages: list[Usage]) -> str:
    """What PiCloud sent, where it can be told: of all its processes together, and of each one that it was sent to."""
    if seen.asked is None:
        return _UNKNOWN
    if usages == seen.ours:
        return _at_least(len(seen.asked.backends))
    known = [it for it in usages if it in seen.postgres]
    return _at_least(sum(it.pid in seen.asked.backends for it in known)) if known else ""


def _at_least(count: int) -> str:
    return f"{count}+" if count else "0"


def _words(seen: Report) -> list[str]:
    """Whether it holds, why not, and what is not known."""
    seconds = f"{seen.measured.seconds:.0f} s"
    said = ["It was not idle:", *(f"  {what}" for what in seen.broken)] if seen.broken else []
    if not said:
        said.append(
            f"The contract holds: in {seconds} no thread of PiCloud was switched to,"
            f" nothing was computed and nothing written{', no SQL was sent' if seen.asked else ''}."
        )
    if seen.postgres:
        said.append(f"PostgreSQL woke {contract.times(contract.wakeups(seen.postgres))} in {seconds}.")
    return said + [text for text in (seen.advice, *seen.unseen) if text]
