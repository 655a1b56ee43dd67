"""Reading `/metrics` as Prometheus does."""

from __future__ import annotations

import httpx
from prometheus_client.parser import text_string_to_metric_families

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


class Scrape:
    """The samples of one scrape."""

    def __init__(self, text: str) -> None:
        families = list(text_string_to_metric_families(text))
        self.names = {family.name for family in families} | {
            each.name for family in families for each in family.samples
        }
        self._samples = [sample for family in families for sample in family.samples]

    def value(self, name: str, **labels: str) -> float:
        """Return the value of the one sample with these labels, and perhaps more."""
        [found] = [
            sample.value for sample in self._samples if sample.name == name and labels.items() <= sample.labels.items()
        ]
        return found

    def by(self, label: str, name: str, **labels: str) -> dict[str, float]:
        """Return the values of the samples with these labels by another label of theirs."""
        found = [sample for sample in self._samples if sample.name == name and labels.items() <= sample.labels.items()]
        return {sample.labels[label]: sample.value for sample in found}

    def of(self, endpoint: str) -> set[str]:
        """Return the names of all samples of an endpoint."""
        return {sample.name for sample in self._samples if sample.labels.get("endpoint") == endpoint}


def scrape(url: str) -> Scrape:
    """Ask for the metrics at a base URL."""
    answer = httpx.get(f"{url}/metrics")
    assert answer.status_code == 200, answer.text
    assert answer.headers["Content-Type"].startswith("text/plain; version=")
    return Scrape(answer.text)
