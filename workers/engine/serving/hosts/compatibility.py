"""Whether hosts that were started for one deployment can serve another."""

from __future__ import annotations

import math

from registry.deployments import DesiredDeployment
from workers.engine.serving.hosts.host_feed import memory_limit_bytes


def can_serve(before: DesiredDeployment, after: DesiredDeployment) -> bool:
    """Whether hosts of one deployment hold the version of another, with the same share of a GPU."""
    return _loaded_content(before) == _loaded_content(after)


def can_take_over(before: DesiredDeployment, after: DesiredDeployment) -> bool:
    """Whether hosts of one deployment can serve another as it is: none of its limits is lower."""
    return can_serve(before, after) and not (_lowers_memory_limit(before, after) or lowers_time_limit(before, after))


def _lowers_memory_limit(before: DesiredDeployment, after: DesiredDeployment) -> bool:
    limit_bytes = memory_limit_bytes(after)
    return limit_bytes is not None and limit_bytes < (memory_limit_bytes(before) or math.inf)


def lowers_time_limit(before: DesiredDeployment, after: DesiredDeployment) -> bool:
    """Whether a deployment leaves its hosts less time for a batch."""
    return after.settings.timeout_s < before.settings.timeout_s


def _loaded_content(desired: DesiredDeployment) -> object:
    return (
        desired.model_name,
        desired.version,
        desired.artifact_sha256,
        desired.runtime,
        repr(desired.runtime_options),
        desired.signature,
        desired.settings.gpu,
    )
