"""Metrics of quality and drift, which a background process has computed for the last 24 hours."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.core import Metric as Family

from api.process.services import Services
from registry import deployments
from registry.deployments import DesiredDeployment
from workers import metric_names as names
from workers.judging.monitoring.results import DRIFT, QUALITY, View
from workers.platform.redis.client import translated_errors

#: Older results are not shown: no background process computes them any more.
_MAX_AGE_S = 3_600.0
MEASURES = ("accuracy", "mae", "rmse")


def families(services: Services) -> Iterator[Family]:
    """Yield the metrics of quality and drift; nothing without feedback and journal.

    Raises:
        QueueUnavailable: Redis can't be reached.
        RegistryUnavailable: the registry can't be reached.
    """
    with translated_errors():
        quality, drift = _recent(QUALITY.read_all()), _recent(DRIFT.read_all())
    if not quality and not drift:
        return
    with services.database.session() as session:
        served = {each.endpoint_name: each for each in deployments.desired(session)}
    yield _quality(quality, served)
    yield _drift(drift, served)


def _quality(found: Mapping[str, View], served: Mapping[str, DesiredDeployment]) -> Family:
    family = _gauge(names.QUALITY)
    for endpoint_name, result in sorted(found.items()):
        for each in result["versions"]:
            # Another model of the same endpoint may have a version of this name.
            if endpoint_name in served and each["model_name"] == served[endpoint_name].model_name:
                for measure in MEASURES:
                    if each[measure] is not None:
                        family.add_metric([endpoint_name, each["version"], measure], each[measure])
    return family


def _drift(found: Mapping[str, View], served: Mapping[str, DesiredDeployment]) -> Family:
    family = _gauge(names.DRIFT)
    for endpoint_name, result in sorted(found.items()):
        if endpoint_name in served and result["version"] == served[endpoint_name].version:
            for each in result["fields"]:
                if each["index"] is not None:
                    family.add_metric([endpoint_name, each["field"]], each["index"])
    return family


def _recent(found: Mapping[str, View]) -> dict[str, View]:
    now = time.time()
    return {name: result for name, result in found.items() if now - result["computed_at"] < _MAX_AGE_S}


def _gauge(metric: names.Metric) -> GaugeMetricFamily:
    return GaugeMetricFamily(metric.name, metric.text, labels=metric.labels)
