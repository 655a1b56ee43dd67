"""How many workers a group should have, from its deployments and the workers' reports; autoscalers follow it.

It knows nothing of jobs but their number, and starts or stops nothing.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from workers.deployments import status
from workers.measures.reports import EndpointReport, HostsState, SeenReport

#: With a fixed number of hosts, more workers are wanted while the unfinished jobs take longer than this.
TOLERATED_WAIT_S = 10.0

#: Shares of GPUs have no exact sum.
_ROUNDING = 1e-6

View = Mapping[str, Any]


def of_endpoint(view: View, unfinished: int, workers: Sequence[SeenReport]) -> int:
    """Return how many workers a deployment needs, given as the API shows it: 0 if it rests until its next job.

    `workers` are the live ones of its group.
    """
    has_jobs = bool(unfinished or view["queue_depth"])
    if view["status"] == status.PARKED or (view["status"] == status.ASLEEP and not has_jobs):
        return 0
    if view["status"] == status.DRAINING:
        # Delayed jobs that are not due yet need no worker: they count once they are.
        return int(has_jobs or bool(view["workers"]))
    mine = [found for each in workers if (found := each["endpoints"].get(view["endpoint_name"])) and _serves(found)]
    if isinstance(view["settings"]["hosts"], Mapping):
        asks_next = bool(mine) and all(each.get("asks_next") for each in mine)
        return max(1, len(mine) + asks_next)
    return max(1, _for_pace(max(unfinished, view["queue_depth"]), mine))


def of_group(needed: Sequence[int], views: Sequence[View], workers: Sequence[SeenReport], *, is_replaying: bool) -> int:
    """Return how many workers a group needs whose deployments need so many each.

    A worker stays while its hosts have no room at the others.
    """
    most = max([*needed, int(is_replaying)])
    return max(most, _for_memory(views, workers), _for_gpus(views, workers)) if most else 0


def _for_memory(views: Sequence[View], workers: Sequence[SeenReport]) -> int:
    """Return how many workers have room for the hosts of the live ones, if each has those of fixed numbers."""
    fixed = {each["endpoint_name"] for each in views if not isinstance(each["settings"]["hosts"], Mapping)}
    once_bytes, spread_bytes, budget_bytes = 0.0, 0.0, 0
    for each in workers:
        memory = each.get("memory")
        if memory is None or not memory["budget_bytes"]:
            return 0
        bytes_of = {name: sum(version["memory_bytes"] for version in found["versions"])
                    for name, found in each["endpoints"].items()}  # fmt: skip
        fixed_bytes = memory["used_bytes"] * _share(sum(bytes_of.get(name, 0) for name in fixed), bytes_of.values())
        once_bytes = max(once_bytes, fixed_bytes)
        spread_bytes += memory["used_bytes"] - fixed_bytes
        budget_bytes = max(budget_bytes, memory["budget_bytes"])
    room_bytes = budget_bytes - once_bytes
    return len(workers) if spread_bytes > room_bytes * len(workers) else math.ceil(spread_bytes / max(1, room_bytes))


def _for_gpus(views: Sequence[View], workers: Sequence[SeenReport]) -> int:
    """Return how many workers have GPUs for the hosts of the live ones, if each has those of fixed numbers."""
    fixed = {
        each["endpoint_name"]: each["settings"]["gpu"] * each["settings"]["hosts"]
        for each in views if not isinstance(each["settings"]["hosts"], Mapping)
    }  # fmt: skip
    once, spread, having = 0.0, 0.0, [each for each in workers if each.get("gpus")]
    for each in having:
        fixed_share = sum(fixed.get(name, 0.0) for name in each["endpoints"])
        once = max(once, fixed_share)
        spread += max(0.0, sum(gpu["share"] for gpu in each["gpus"]) - fixed_share)
    room = max((len(each["gpus"]) for each in having), default=0) - once
    if spread <= _ROUNDING:
        return 0
    return len(having) if room <= _ROUNDING else min(len(having), math.ceil(spread / room - _ROUNDING))


def _share(part_bytes: int, all_bytes: Iterable[int]) -> float:
    total_bytes = sum(all_bytes)
    return part_bytes / total_bytes if total_bytes else 0.0


def _serves(endpoint: EndpointReport) -> bool:
    return any(each["state"] not in (HostsState.NOT_PLACED, HostsState.STOPPING) for each in endpoint["versions"])


def _for_pace(unfinished: int, mine: Sequence[EndpointReport]) -> int:
    """Return how many workers end so many jobs in time, at the mean pace of those that serve."""
    paces = [pace for each in mine if (pace := each.get("jobs_per_s"))]
    if not paces:
        return 1
    return math.ceil(unfinished / (sum(paces) / len(paces) * TOLERATED_WAIT_S))
