"""`python -m registry.checking`: checks that the store has all artifacts of the registry, undamaged."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import NamedTuple

from sqlalchemy import select
from sqlalchemy.orm import Session

from registry import migrate, settings
from registry.artifacts.store import ArtifactStore
from registry.database import default_database
from registry.database.tables import VersionRow
from registry.errors import ArtifactDamaged, ArtifactMissing, RegistryError


class VersionedArtifact(NamedTuple):
    """An artifact and its versions, such as `iris 1`."""

    sha256: str
    size_bytes: int
    versions: list[str]


def list_artifacts(session: Session) -> list[VersionedArtifact]:
    """Return the artifacts of all versions, each once, the oldest first."""
    rows = session.execute(
        select(VersionRow.artifact_sha256, VersionRow.artifact_size_bytes, VersionRow.model_name, VersionRow.version)
        .where(VersionRow.deleted_at.is_(None))
        .order_by(VersionRow.id)
    )
    found: dict[str, VersionedArtifact] = {}
    for sha256, size_bytes, model_name, version in rows:
        found.setdefault(sha256, VersionedArtifact(sha256, size_bytes, [])).versions.append(f"{model_name} {version}")
    return list(found.values())


def problems(store: ArtifactStore, artifacts: list[VersionedArtifact]) -> Iterator[str]:
    """Read all artifacts; yield a sentence for each missing or damaged one.

    Raises:
        ArtifactStoreUnavailable: the store can't be reached.
    """
    for each in artifacts:
        try:
            store.verify(each.sha256)
        except (ArtifactMissing, ArtifactDamaged) as error:
            yield f"{', '.join(each.versions)}: {error}"


def main() -> int:
    """Check the artifacts of `DATABASE_URL` in `QUEUECAST_ARTIFACTS_URL`; return the exit code."""
    try:
        migrate.refuse_absent()
        with default_database().session() as session:
            artifacts = list_artifacts(session)
        found = list(problems(ArtifactStore(settings.load().artifacts_url), artifacts))
    except RegistryError as error:
        print(error, file=sys.stderr)  # noqa: T201 - a command's output
        return 1
    for problem in found:
        print(problem)  # noqa: T201
    intact = len(artifacts) - len(found)
    print(f"{intact} of {len(artifacts)} artifacts are intact.")  # noqa: T201
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
