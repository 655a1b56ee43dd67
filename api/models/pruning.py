"""Deletes artifacts that nothing needs; what workers still have counts as needed."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from api.http.schema import Answer, RequestSchema
from api.process.services import Services
from registry import deployments
from registry.upkeep import pruning
from registry.upkeep.pruning import DEFAULT_GRACE_S, Pruned, Reason, Unneeded, VersionName
from workers.deployments import status

View = dict[str, Any]
_LONGEST_GRACE_S = 365 * 86_400


class Prune(RequestSchema):
    """What to delete, or only to look for."""

    dry_run: bool = Field(default=False, description="Only tell what would be deleted.")
    grace_s: float = Field(
        default=DEFAULT_GRACE_S,
        ge=0,
        le=_LONGEST_GRACE_S,
        description="Delete nothing that was stored, or whose version was deleted, within so many seconds: a backup "
        "that runs may still copy it. Parts of uploads stay for an hour at least.",
    )


class UnneededArtifact(Answer):
    """A file of the artifact store that nothing needs."""

    sha256: str | None = Field(description="The artifact's checksum; null for a part of an upload that broke off.")
    size_bytes: int = Field(description="The size of the file.")
    reason: Reason = Field(
        description="`deleted_version`: all versions with this artifact were deleted. `no_version`: a registration "
        "broke off after it was stored. `unfinished_upload`: a part of an upload that broke off."
    )
    versions: list[str] = Field(description="The deleted versions that had it, e.g. `house 3`.")


class PruneReport(Answer):
    """What was deleted from the artifact store, or would be, and what stays."""

    dry_run: bool = Field(description="Whether nothing was deleted.")
    deleted: list[UnneededArtifact] = Field(description="What was deleted; with `dry_run`, what would be.")
    deleted_bytes: int = Field(description="The size of all that.")
    too_young: list[UnneededArtifact] = Field(description="Needed by nothing, but kept for the grace period.")
    too_young_bytes: int = Field(description="The size of all that.")
    deleted_environments: list[str] = Field(
        description="The digests of the environments that were deleted, or would be: no version has them."
    )
    needed_count: int = Field(description="How many artifacts a version, a deployment or a worker needs.")
    needed_bytes: int = Field(description="The size of those.")
    is_complete: bool = Field(description="False if time ran out before everything was looked at: ask again.")


def prune(services: Services, wanted: Prune) -> View:
    """Delete the artifacts that nothing needs; return what was deleted, or would be.

    Raises:
        PruneRefused: the registry never had a version.
        ArtifactStoreUnavailable: the store can't be reached or listed.
        QueueUnavailable: Redis can't be reached, so nothing is known of what workers have.
    """
    found = pruning.prune(
        services.database, services.store,
        in_use=_in_use(services), grace_s=wanted.grace_s, dry_run=wanted.dry_run,
    )  # fmt: skip
    return _document(found, dry_run=wanted.dry_run)


def _in_use(services: Services) -> set[VersionName]:
    """Return the versions that workers have, or that an endpoint needs until it is undeployed and done."""
    with services.database.session() as session:
        desired = deployments.desired(session)
    reported = {
        (each["model_name"], each["version"])
        for worker in status.live_workers()
        for endpoint in worker["endpoints"].values()
        for each in endpoint["versions"]
    }
    views = status.views(desired)
    return reported | {(each["model_name"], each["version"]) for each in views if each["status"] != status.UNDEPLOYED}


def _document(found: Pruned, *, dry_run: bool) -> View:
    return {
        "dry_run": dry_run,
        "deleted": [_artifact(each) for each in found.deleted],
        "deleted_bytes": sum(each.size_bytes for each in found.deleted),
        "too_young": [_artifact(each) for each in found.too_young],
        "too_young_bytes": sum(each.size_bytes for each in found.too_young),
        "deleted_environments": found.deleted_environments,
        "needed_count": found.needed_count,
        "needed_bytes": found.needed_bytes,
        "is_complete": found.is_complete,
    }


def _artifact(each: Unneeded) -> View:
    return {"sha256": each.sha256, "size_bytes": each.size_bytes, "reason": each.reason, "versions": each.versions}
