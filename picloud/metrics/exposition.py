"""Everything that is counted, as text for Prometheus.

Owns: prometheus_client, which adds the files of all processes up and makes the text.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from picloud.metrics.measuring import Measurements
from picloud.metrics.names import OTHER
from picloud.metrics.series import TABLE, Series

MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"

Seen = Mapping[Series, Mapping[tuple[str, ...], float]]
"""What was seen at this moment: a gauge → labels → number."""


def text(measurements: Measurements, seen: Seen) -> bytes:
    """In the format that every Prometheus reads."""
    with measurements.folder.reading() as files:
        counted = {it.name: it for it in _counted(files)}
    names = {*measurements.names.all(), OTHER}
    for it in counted.values():
        it.samples = [sample for sample in it.samples if sample.labels.get("script", OTHER) in names]
    registry = CollectorRegistry()
    registry.register(_Collected(counted, seen))
    return generate_latest(registry)


def _counted(files: list[Path]) -> Iterable[Metric]:
    merged: Iterable[Metric] = MultiProcessCollector.merge(list(map(str, files)))  # type: ignore[no-untyped-call]
    return merged


class _Collected(Collector):
    """In the order of the table; a series without samples is left out."""

    def __init__(self, counted: Mapping[str, Metric], seen: Seen) -> None:
        self._counted, self._seen = counted, seen

    def describe(self) -> Iterable[Metric]:
        """Nothing: a registry of one collector has no names that clash."""
        return ()

    def collect(self) -> Iterable[Metric]:
        """For one text."""
        for it in TABLE:
            metric = self._counted.get(it.name.removesuffix("_total"))
            if it in self._seen:
                metric = GaugeMetricFamily(it.name, it.about, labels=it.labels)
                for labels, number in self._seen[it].items():
                    metric.add_metric(labels, number)
            if metric and metric.samples:
                metric.documentation = it.about
                yield metric
