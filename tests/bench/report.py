"""Medians, spread and ratios. Pure."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.bench.load import Measurement

BASELINE = "cgi"
NOISY_SPREAD = 0.3  # of a median, between the best and the worst repetition


@dataclass(frozen=True)
class Figure:
    """One quantity over all repetitions."""

    values: Sequence[float]

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    @property
    def spread(self) -> float:
        """How far the repetitions are apart, as a share of the median."""
        return (max(self.values) - min(self.values)) / self.median


@dataclass
class Result:
    """All measurements of one contender."""

    name: str
    about: str
    one: list[Measurement] = field(default_factory=list)  # with one connection
    many: list[Measurement] = field(default_factory=list)  # with as many as were asked for

    @property
    def p50_ms(self) -> Figure:
        return Figure([it.p50_ms for it in self.one])

    @property
    def requests_per_s(self) -> Figure:
        return Figure([it.requests_per_s for it in self.many])

    @property
    def errors(self) -> int:
        return sum(it.errors for it in (*self.one, *self.many))


def warnings(results: Sequence[Result], load: float, processors: int) -> list[str]:
    """What to know before believing the numbers."""
    said = []
    if load > processors / 2:
        said.append(f"the machine was busy before the start: load {load:.1f} on {processors} processors")
    for result in results:
        for what, figure in (("p50", result.p50_ms), ("requests/s", result.requests_per_s)):
            if figure.spread > NOISY_SPREAD:
                said.append(
                    f"{result.name}: the repetitions' {what} are {figure.spread:.0%} of their median apart: busy?"
                )
        if result.errors:
            said.append(f"{result.name}: {result.errors} requests failed; its numbers mean little")
    return said


def table(results: Sequence[Result], connections: int) -> str:
    """For a person; ratios are to plain CGI."""
    base = next((it for it in results if it.name == BASELINE), None)
    rows: list[tuple[str, ...]] = [
        ("", "p50, 1 connection", "vs CGI", f"requests/s, {connections} connections", "vs CGI")
    ]
    rows += [_row(result, base) for result in results]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "  ".join(
            [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        )
        for row in rows
    )


def document(results: Sequence[Result], facts: dict[str, Any], said: Sequence[str]) -> dict[str, Any]:
    """For a program: `bench.json`."""
    base = next((it for it in results if it.name == BASELINE), None)
    return {**facts, "warnings": list(said), "contenders": [_entry(result, base) for result in results]}


def _row(result: Result, base: Result | None) -> tuple[str, ...]:
    latency, rate = result.p50_ms.median, result.requests_per_s.median
    ratios = ("", "") if base is None else (
        f"{latency / base.p50_ms.median:.2f}×", f"{rate / base.requests_per_s.median:.2f}×",
    )  # fmt: skip
    return result.about, f"{latency:.2f} ms", ratios[0], f"{rate:,.0f}", ratios[1]


def _entry(result: Result, base: Result | None) -> dict[str, Any]:
    entry: dict[str, Any] = {"name": result.name, "about": result.about, "errors": result.errors}
    for key, figure in (("p50_ms", result.p50_ms), ("requests_per_s", result.requests_per_s)):
        entry[key] = {"median": figure.median, "spread": figure.spread, "all": list(figure.values)}
        if base is not None:
            entry[key]["vs_cgi"] = figure.median / getattr(base, key).median
    return entry
