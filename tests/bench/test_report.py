"""Numbers are read, condensed and doubted as they should be."""

import json

import pytest

from tests.bench import report
from tests.bench.load import Measurement, parse
from tests.bench.report import Figure, Result


def result(name: str, p50_ms: list[float], requests_per_s: list[float], errors: int = 0) -> Result:
    return Result(
        name, f"about {name}",
        [Measurement(1, value, value, errors) for value in p50_ms],
        [Measurement(value, 1, 1, 0) for value in requests_per_s],
    )  # fmt: skip


def test_what_wrk_says_is_read() -> None:
    said = 'Running 1s test\n\nRESULT {"requests": 500, "us": 2000000, "errors": 3, "p50_us": 1500, "p99_us": 9000}\n'
    assert parse(said) == Measurement(requests_per_s=250, p50_ms=1.5, p99_ms=9, errors=3)


def test_a_figure_is_the_median_and_how_far_apart_its_values_are() -> None:
    assert (Figure([1, 10, 2]).median, Figure([8, 10, 12]).spread) == (2, 0.4)


def test_ratios_are_to_plain_cgi() -> None:
    results = [result("ours", [2], [300]), result("cgi", [4], [100])]
    assert "2.00 ms   0.50×" in report.table(results, 16)
    ours = report.document(results, {"at": "now"}, [])["contenders"][0]
    assert (ours["p50_ms"]["vs_cgi"], ours["requests_per_s"]["vs_cgi"]) == (0.5, 3)


def test_without_cgi_there_are_no_ratios() -> None:
    results = [result("ours", [2], [300])]
    assert "×" not in report.table(results, 16)
    assert "vs_cgi" not in json.dumps(report.document(results, {}, []))


@pytest.mark.parametrize(
    ("results", "load", "word"),
    [
        ([result("ours", [2, 2], [300, 300])], 1.5, "load 1.5 on 2 processors"),
        ([result("ours", [2, 4], [300, 300])], 0, "p50 are 67%"),
        ([result("ours", [2, 2], [300, 500])], 0, "requests/s are 50%"),
        ([result("ours", [2, 2], [300, 300], errors=1)], 0, "2 requests failed"),
    ],
)
def test_what_makes_numbers_doubtful_is_said(results: list[Result], load: float, word: str) -> None:
    (warning,) = report.warnings(results, load, 2)
    assert word in warning


def test_a_quiet_machine_needs_no_word() -> None:
    assert report.warnings([result("ours", [2, 2.1], [300, 310])], 0.5, 2) == []
