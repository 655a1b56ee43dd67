"""References of drift: the first jobs of a version that the journal keeps, as counts by bin in a file beside it.

    drift/endpoint_name=<endpoint>/version=<version>.json

A reference stays when its jobs leave the journal. It has counts, deciles and hashes of frequent values, and no inputs.
It is deleted with its version, and once its endpoint is undeployed and has left the journal.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any

from registry.artifacts.named_files import NamedFile
from registry.deployments import DesiredDeployment
from workers.journal import rows
from workers.journal.files import dataset
from workers.journal.rows import Row
from workers.judging.monitoring.drift import Bins, Collected
from workers.platform import fast_json

_FOLDER = "drift"
_FORMAT = 1
_NAME = re.compile(rf"{_FOLDER}/endpoint_name=(?P<endpoint>[^/]+)/version=(?P<version>[^/]+)\.json")
#: Jobs of a reference.
REFERENCE_JOBS = 1_000
_MICROSECONDS = 1_000_000


@dataclass(frozen=True, slots=True)
class Reference:
    """The first jobs of a version."""

    model_name: str
    version: str
    jobs: int
    #: When the first and the last of them ended (s since the epoch).
    first_at: float
    last_at: float
    fields: dict[str, Bins]

    def facts(self) -> dict[str, Any]:
        """Return what it is made from."""
        return {"job_count": self.jobs, "first_at": self.first_at, "last_at": self.last_at}


def read(deployment: DesiredDeployment) -> Reference | None:
    """Return the reference of what a deployment serves; None without one. Raises ArtifactStoreUnavailable."""
    content = dataset.store().read(_name(deployment))
    document = None if content is None else fast_json.loads(content)
    if document is None or document["format"] != _FORMAT or document["model_name"] != deployment.model_name:
        return None
    fields = {name: Bins.from_document(each) for name, each in document["fields"].items()}
    values = {name: document[name] for name in ("model_name", "version", "jobs", "first_at", "last_at")}
    return Reference(**values, fields=fields)


def write(deployment: DesiredDeployment, reference: Reference) -> None:
    """Write the reference of what a deployment serves. Raises ArtifactStoreUnavailable, ArtifactStoreFull."""
    document = {"format": _FORMAT, **asdict(reference)}
    dataset.store().write(_name(deployment), fast_json.dumps_celery(document))


def prune(
    deployed: Mapping[str, DesiredDeployment],
    with_journal: Collection[str],
    is_there: Callable[[str, str], bool],
) -> int:
    """Delete the references that nothing needs any more; return how many.

    Args:
        deployed: the served and parked deployments by endpoint.
        with_journal: the endpoints of which the journal has files.
        is_there: whether a model has a version, which may have been deleted.

    Raises:
        ArtifactStoreUnavailable: the artifact store can't be reached or written.
    """
    count = 0
    for file in list(dataset.store().find(_FOLDER)):
        match = _NAME.fullmatch(file.name)
        if match is not None and not _is_needed(
            file, match["endpoint"], match["version"], deployed, with_journal, is_there
        ):
            dataset.store().remove(file.name)
            count += 1
    return count


def _is_needed(  # noqa: PLR0913, PLR0917 - what decides it
    file: NamedFile,
    endpoint_name: str,
    version: str,
    deployed: Mapping[str, DesiredDeployment],
    with_journal: Collection[str],
    is_there: Callable[[str, str], bool],
) -> bool:
    deployment = deployed.get(endpoint_name)
    if deployment is not None and deployment.version == version:
        return True
    model_name = _model_name(file)
    if model_name is not None and not is_there(model_name, version):
        return False
    return deployment is not None or endpoint_name in with_journal


@lru_cache(maxsize=10_000)
def _model_name(file: NamedFile) -> str | None:
    """Return the model of a reference; None if it is of another format, or gone."""
    content = dataset.store().read(file.name)
    document = None if content is None else fast_json.loads(content)
    return document.get("model_name") if isinstance(document, dict) else None


def collect(deployment: DesiredDeployment, found: Iterable[Row]) -> Reference | int:
    """Return the reference that these jobs make, oldest first; or how many jobs there are, if they are too few."""
    collected, first_at, last_at = Collected(), 0.0, 0.0
    for row in found:
        if is_of(row, deployment):
            add(collected, row)
            last_at = row.finished_at / _MICROSECONDS
            first_at = first_at or last_at
            if collected.jobs == REFERENCE_JOBS:
                break
    if collected.jobs < REFERENCE_JOBS:
        return collected.jobs
    return Reference(deployment.model_name, deployment.version, collected.jobs, first_at, last_at, collected.bins())


def is_of(row: Row, deployment: DesiredDeployment) -> bool:
    """Whether what a deployment serves has answered this job."""
    return row.predictions is not None and (row.model_name, row.version) == (
        deployment.model_name,
        deployment.version,
    )


def add(collected: Collected, row: Row) -> None:
    """Add a job of the journal."""
    entry = rows.entry("", row)
    collected.add(entry.inputs, entry.predictions or ())


def _name(deployment: DesiredDeployment) -> str:
    return f"{_FOLDER}/endpoint_name={deployment.endpoint_name}/version={deployment.version}.json"
