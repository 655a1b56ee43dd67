"""Metrics of rollouts: those that are active, and those that have ended within an hour."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.core import Metric as Family

from api.process.services import Services
from registry.judging import rollouts
from registry.judging.rollouts import Rollout
from registry.trials.trials import RolloutState
from workers import metric_names as names
from workers.judging import trial_figures

#: An alert about an aborted rollout fires for so long.
_SHOWN_AFTER_END = timedelta(hours=1)


def families(services: Services) -> Iterator[Family]:
    """Yield the metrics of rollouts; nothing without one.

    Raises:
        QueueUnavailable: Redis can't be reached.
        RegistryUnavailable: the registry can't be reached.
    """
    with services.database.session() as session:
        found = rollouts.latest_of_each(session, datetime.now(UTC) - _SHOWN_AFTER_END)
    if not found:
        return
    state, weight, step, jobs = _state(), _gauge(names.ROLLOUT_WEIGHT), _gauge(names.ROLLOUT_STEP), _jobs()
    for each in found:
        labels = [each.endpoint_name, each.version]
        for one in RolloutState:
            state.add_metric([*labels, one.value], float(each.state is one))
        weight.add_metric(labels, each.weight)
        step.add_metric(labels, each.step + 1)
        _add_jobs(jobs, each)
    yield from (state, weight, step, jobs)


def _add_jobs(jobs: CounterMetricFamily, rollout: Rollout) -> None:
    figures = trial_figures.read(rollout.id, rollout.figures)
    for name, arm in (("stable", figures.stable), ("candidate", figures.candidate)):
        labels = [rollout.endpoint_name, rollout.version, name]
        jobs.add_metric([*labels, "succeeded"], arm.jobs - arm.failed)
        jobs.add_metric([*labels, "failed"], arm.failed)


def _state() -> GaugeMetricFamily:
    return _gauge(names.ROLLOUT_STATE)


def _gauge(metric: names.Metric) -> GaugeMetricFamily:
    return GaugeMetricFamily(metric.name, metric.text, labels=metric.labels)


def _jobs() -> CounterMetricFamily:
    metric = names.ROLLOUT_JOBS
    return CounterMetricFamily(metric.name, metric.text, labels=metric.labels)
