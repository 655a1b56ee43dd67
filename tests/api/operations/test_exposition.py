"""What is written of metrics is what prometheus_client would write."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from prometheus_client import CollectorRegistry, Counter
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import choose_encoder

from api.operations import exposition

ACCEPTED = [
    "",
    "text/plain",
    "text/plain; version=1.0.0; escaping=allow-utf-8",
    "text/plain; version=1.0.0; escaping=dots",
    "application/openmetrics-text",
    "application/openmetrics-text; version=1.0.0; escaping=underscores",
    "application/openmetrics-text; version=1.0.0; escaping=values",
]


class Families:
    """Families of all kinds, with what has to be written in another way."""

    def collect(self) -> Iterator[Metric]:
        counter = CounterMetricFamily("queuecast_jobs", 'Ended "jobs"\\n\nof all \\', labels=("endpoint", "a"))
        counter.add_metric(["one\\two", 'a "quoted"\nline'], 3)
        counter.add_metric(["größe", ""], 1e30)
        yield counter
        gauge = GaugeMetricFamily("queuecast_depth", "Waiting jobs", labels=("endpoint",))
        for number, value in enumerate((0, 0.1 + 0.2, 12_345_678.9, float("inf"), float("-inf"), float("nan"), True)):
            gauge.add_metric([f"e{number}"], value)
        yield gauge
        yield GaugeMetricFamily("queuecast_up", "One without labels", value=1)
        yield GaugeMetricFamily("queuecast_none", "One without samples", labels=("endpoint",))
        histogram = HistogramMetricFamily("queuecast_duration_seconds", "Time", labels=("endpoint",))
        histogram.add_metric(["one"], [("0.005", 1), ("10.0", 2), ("+Inf", 3)], 1.25)
        yield histogram


def registry(*collectors: Families) -> CollectorRegistry:
    found = CollectorRegistry()
    for each in collectors:
        found.register(each)
    return found


@pytest.mark.parametrize("accept", ACCEPTED)
def test_the_text_is_that_of_the_library(accept: str) -> None:
    library, media_type = choose_encoder(accept)
    encode, ours = exposition.encoder(accept)
    assert ours == media_type
    assert encode(Families().collect(), registry()) == library(registry(Families()))


@pytest.mark.parametrize("accept", ["", "application/openmetrics-text"])
def test_what_a_process_counts_itself_follows(accept: str) -> None:
    others = CollectorRegistry()
    Counter("requests", "Requests", registry=others).inc()
    encode, _ = exposition.encoder(accept)
    lines = encode(Families().collect(), others).decode().splitlines()
    assert lines.index("queuecast_up 1.0") < lines.index("requests_total 1.0")
    assert [lines.index(each) for each in lines if each == "# EOF"] == ([len(lines) - 1] if accept else [])
