"""docs/metrics.md lists the series that there are and no others, and its queries ask for none that is not there."""

import re

import pytest
import yaml  # type: ignore[import-untyped] # comes with schemathesis

from picloud.metrics.series import TABLE, Kind
from tests.documents import blocks, rows
from tests.running import ROOT

PAGE = ROOT / "docs" / "metrics.md"
QUERIES = "\n".join(block.text for block in blocks(PAGE, "yaml", "text", "sh"))


def spans(names: tuple[str, ...]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def test_the_table_has_every_series_with_its_type_its_labels_and_its_meaning() -> None:
    expected = [[f"`{it.name}`", str(it.kind), spans(it.labels), it.about] for it in TABLE]
    assert list(rows(PAGE.read_text(encoding="utf-8"))) == expected


def test_names_are_prometheus_names_and_each_is_there_once() -> None:
    names = [it.name for it in TABLE]
    assert len(set(names)) == len(names)
    for it in TABLE:
        assert re.fullmatch(r"picloud(_[a-z]+)+", it.name)
        assert it.name.endswith("_total") == (it.kind is Kind.COUNTER)
        assert bool(it.buckets) == (it.kind is Kind.HISTOGRAM)
        assert list(it.buckets) == sorted(set(it.buckets))


def test_the_configuration_is_some_and_each_alert_says_what_to_look_at() -> None:
    scrape, rules = (yaml.safe_load(block.text) for block in blocks(PAGE, "yaml"))
    (job,) = scrape["scrape_configs"]
    assert job.keys() == {
        "job_name",
        "scrape_interval",
        "authorization",
        "static_configs",
    }  # and /metrics is the default
    (group,) = rules["groups"]
    assert len(group["rules"]) == 3
    for rule in group["rules"]:
        assert rule.keys() == {"alert", "expr", "for", "annotations"}
        assert rule["annotations"]["summary"]


@pytest.mark.parametrize("name", sorted(set(re.findall(r"picloud_\w+", QUERIES))))
def test_a_query_asks_for_a_series_that_there_is(name: str) -> None:
    kinds = {it.name: it.kind for it in TABLE}
    base = re.sub(r"_(bucket|sum|count)$", "", name)
    assert kinds.get(name) in (Kind.COUNTER, Kind.GAUGE) or kinds.get(base) is Kind.HISTOGRAM


def test_labels_in_queries_are_those_of_their_series() -> None:
    labels = {it.name: it.labels for it in TABLE}
    for name, selector in re.findall(r"(picloud_\w+)\{(.*?)\}", QUERIES):
        assert set(re.findall(r"(\w+)(?:!?=~?)\"", selector)) <= {*labels[name]}, name
