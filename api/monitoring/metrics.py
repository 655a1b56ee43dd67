"""Metrics of quality and drift, which a background process has computed for the last 24 hours."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.core import Metric as Family

from api.process.services import Services
from registry import deployments
from workers import metric_names as names
from workers.judging.monitoring.results import QUALITY
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
        quality = _recent(QUALITY.read_all())
    if not quality:
        return
    with services.database.session() as session:
        model_names = {each.endpoint_name: each.model_name for each in deployments.desired(session)}
    family = _gauge(names.QUALITY)
    for endpoint_name, result in sorted(quality.items()):
        for each in result["versions"]:
            # Another model of the same endpoint may have a version of this name.
            if each["model_name"] == model_names.get(endpoint_name):
                for measure in MEASURES:
                    if each[measure] is not None:
                        family.add_metric([endpoint_name, each["version"], measure], each[measure])
    yield family


def _recent(found: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    now = time.time()
    return {name: result for name, result in found.items() if now - result["computed_at"] < _MAX_AGE_S}


def _gauge(metric: names.Metric) -> GaugeMetricFamily:
    return GaugeMetricFamily(metric.name, metric.text, labels=metric.labels)
