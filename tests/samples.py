"""What /metrics says, read by prometheus_client's own parser."""

from collections.abc import Iterable

from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families


class Samples:
    """Every sample of one answer."""

    def __init__(self, families: Iterable[Metric]) -> None:
        self.families = list(families)

    def of(self, name: str, **labels: str) -> dict[tuple[str, ...], float]:
        """Those of a name with these labels: values of the other labels, in the order of their names → number."""
        found = [sample for family in self.families for sample in family.samples if sample.name == name]
        return {
            tuple(value for label, value in sorted(sample.labels.items()) if label not in labels): sample.value
            for sample in found
            if labels.items() <= sample.labels.items()
        }

    def sum(self, name: str, **labels: str) -> float:
        """All of them together; 0 if there is none."""
        return sum(self.of(name, **labels).values())


def samples_of(text: bytes) -> Samples:
    """Fails if it is not what Prometheus reads."""
    return Samples(text_string_to_metric_families(text.decode()))
