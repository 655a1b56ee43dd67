"""Snapshots of deployments in Redis: the data that a submit needs, written by the workers that serve them.

With them an API that starts while the registry's database is away can accept jobs. They contain no secrets.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from registry import names
from registry.deployments import DesiredDeployment, Intent
from registry.serving.settings import ServingSettings
from registry.signatures.signature import Signature
from workers import keys
from workers.deployments import status
from workers.measures.reports import WorkerReport
from workers.platform.redis.client import records_client, translated_errors

_log = logging.getLogger(__name__)

#: A release with another format uses another number, and ignores snapshots with this one.
_FORMAT = 1
#: A deployment whose signature is longer has no snapshot.
MAX_BYTES = 65_536
#: Settings that a submit does not need: one may contain secrets, and the other has values that may be null.
_EXCLUDED_SETTINGS = {"callback_url", "rollout"}


def encode(desired: DesiredDeployment) -> str | None:
    """Return the snapshot of a deployment, or None if it would be too long."""
    document = {
        "format": _FORMAT,
        "model_name": desired.model_name,
        "version": desired.version,
        "runtime": desired.runtime,
        "signature": desired.signature.document(),
        "settings": _without_secrets(desired.settings),
        "worker_group": desired.worker_group,
        "revision": desired.revision,
        "deployed_at": desired.deployed_at.isoformat(),
        "updated_at": desired.updated_at.isoformat(),
    }
    text = json.dumps(document)
    return text if len(text) <= MAX_BYTES else None


def _without_secrets(settings: ServingSettings) -> dict[str, Any]:
    return {
        name: value for name, value in settings.row().items() if value is not None and name not in _EXCLUDED_SETTINGS
    }


def read(endpoint_name: str) -> DesiredDeployment | None:
    """Return the deployment of an endpoint from its snapshot, if a running worker reports that revision; else None.

    It has no artifact, runtime options or input example.

    Raises:
        QueueUnavailable: Redis can't be reached.
    """
    if not names.could_exist(endpoint_name):
        return None
    with translated_errors(changes=False):
        text = records_client().hget(keys.DEPLOYMENTS, endpoint_name)
    found = None if text is None else _decode(endpoint_name, text)
    return found if found is not None and _is_reported(found, status.live_workers()) else None


def _is_reported(found: DesiredDeployment, workers: Sequence[WorkerReport]) -> bool:
    """Whether a worker reports the snapshot's revision; if none does, the snapshot may be out of date."""
    reports = [report for worker in workers if (report := worker["endpoints"].get(found.endpoint_name))]
    return any(version["revision"] == found.revision for report in reports for version in report["versions"])


def _decode(endpoint_name: str, text: Any) -> DesiredDeployment | None:
    try:
        document = json.loads(text)
        if document["format"] != _FORMAT:
            return None
        return DesiredDeployment(
            endpoint_name=endpoint_name,
            model_name=document["model_name"],
            version=document["version"],
            runtime=document["runtime"],
            runtime_options={},
            artifact_sha256="",
            artifact_size_bytes=0,
            signature=Signature.stored(document["signature"]),
            input_example=None,
            settings=ServingSettings.stored(document["settings"]),
            worker_group=document["worker_group"],
            intent=Intent.SERVE,
            revision=document["revision"],
            deployed_at=datetime.fromisoformat(document["deployed_at"]),
            updated_at=datetime.fromisoformat(document["updated_at"]),
        )
    except (ValueError, KeyError, TypeError) as error:
        _log.warning("ignoring the unreadable snapshot of endpoint %s: %r", endpoint_name, error)
        return None
