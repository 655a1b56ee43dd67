"""The version under judgement beside the one that an endpoint serves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from registry.database.tables import CandidateRow
from registry.signatures.signature import Signature

#: Where a job runs again that fails on the candidate: on the version that serves, or nowhere.
ON_FAILURE = ("stable", "fail")


@dataclass(frozen=True)
class Candidate:
    """A candidate of an endpoint, as a shadow or a rollout sets it."""

    #: The id of the shadow or the rollout.
    trial_id: str
    model_name: str
    version: str
    runtime: str
    runtime_options: dict[str, Any]
    artifact_sha256: str
    artifact_size_bytes: int
    signature: Signature
    input_example: Any
    #: The share of jobs that it answers (0 to 1): those with `hash(salt, key) < weight`.
    weight: float
    #: The share of the other version's jobs that it predicts as well, after their ends (0 to 1).
    shadow_share: float
    salt: str
    #: One of `ON_FAILURE`.
    on_failure: str


def view(row: CandidateRow) -> Candidate:
    """Return the candidate of a row."""
    bound = row.bound_version
    return Candidate(
        trial_id=row.trial_id,
        model_name=row.model_name,
        version=row.version,
        runtime=bound.runtime,
        runtime_options=bound.runtime_options,
        artifact_sha256=bound.artifact_sha256,
        artifact_size_bytes=bound.artifact_size_bytes,
        signature=Signature.stored(bound.signature, bound.input_example),
        input_example=bound.input_example,
        weight=row.weight,
        shadow_share=row.shadow_share,
        salt=row.salt,
        on_failure=row.on_failure,
    )
