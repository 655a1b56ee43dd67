"""Registers model objects from Python: a model is stored only after it was loaded and has predicted its example."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy.orm import Session

from registry import names, runtimes, settings, versions
from registry.artifacts.store import ArtifactStore
from registry.database.json_documents import checked_metadata
from registry.environments import locking
from registry.errors import ModelLoadFailed, OutputInvalid, RegistryError, SignatureInvalid
from registry.hosting.trials import default_trials
from registry.runtimes.models import libraries
from registry.runtimes.outputs import to_json
from registry.signatures import data_frames
from registry.signatures.signature import Signature
from registry.versions import ModelVersion


def register(  # noqa: PLR0913 - the fields of a version, by name
    session: Session,
    name: str,
    model: Any,
    *,
    input_example: Any = None,
    signature: Signature | Mapping[str, Any] | None = None,
    runtime: str | None = None,
    runtime_options: Mapping[str, Any] | None = None,
    version: str | None = None,
    metadata: Mapping[str, Any] | None = None,
    store: ArtifactStore | None = None,
    environment: Mapping[str, Any] | None = None,
) -> ModelVersion:
    """Serialize a model, try it on its example in a fresh process, and add it as a version; the caller commits.

    Without a `runtime`, it is detected. Without a `signature`, it is derived from the example; a pandas data frame
    gives the most detail: dtypes, categories, missing values (its first row is the example). A series is one row.
    Without a `store`, the one of the settings is used. The versions of the runtime's libraries are added to the
    metadata. `environment` is what the version runs in, `{"python": "3.12", "requirements": [...]}`; it is locked now,
    and the model is tried in this program's own packages.

    Raises:
        NameInvalid, VersionExists, MetadataInvalid: as `versions.add_version`.
        SignatureInvalid, InputInvalid: there is neither a signature nor an example, or they don't match.
        RuntimeUnknown, RuntimeUnavailable, RuntimeOptionsInvalid: the runtime or its options can't be used.
        ModelLoadFailed: it can't be serialized or loaded, or fails on its example.
        OutputInvalid: its output for the example is not JSON-serializable.
        EnvironmentsOff, EnvironmentInvalid, EnvironmentUnresolvable: there can't be such an environment.
        ArtifactStoreUnavailable: the artifact could not be stored.
    """
    names.check_model_name(name)
    if data_frames.is_data_frame(input_example):
        shown, input_example = data_frames.described(input_example)
        signature = shown if signature is None else signature
    example = _plain(data_frames.row_of(input_example))
    checked = versions.signature_of(signature, example)
    runtime = runtime or runtimes.guess(model)
    options = runtimes.get(runtime).check_options(runtime_options or {})
    artifact = _serialized(runtime, model)
    checked = runtimes.refined(runtime, artifact, options, checked)
    if example is not None:
        checked.check(example, "input_example")
    described = {"runtime": runtime, "runtime_options": options, "signature": checked, "input_example": example}
    locked = None if environment is None else locking.locked(environment, settings.load())
    _try(artifact, described)
    return versions.add_version(
        session,
        store or ArtifactStore(settings.load().artifacts_url),
        name,
        artifact,
        **described,
        metadata={libraries.BUILT_WITH: _built_with(runtime), **checked_metadata(metadata)},
        version=version,
        environment=locked,
    )


def _plain(input_example: Any) -> Any:
    try:
        return to_json(input_example, "input_example")
    except OutputInvalid as error:
        raise SignatureInvalid(str(error)) from error


def _serialized(runtime: str, model: Any) -> bytes:
    try:
        return runtimes.get(runtime).dump(model)
    except RegistryError:
        raise
    except Exception as error:
        raise ModelLoadFailed(f"The model can't be serialized: {type(error).__name__}: {error}") from error


def _try(artifact: bytes, described: Mapping[str, Any]) -> None:
    """Load the artifact and predict the example like a model host, before anything is stored."""
    request = {**described, "signature": described["signature"].model_dump(mode="json")}
    default_trials().run(artifact, request, settings.load().load_timeout_s)


def _built_with(runtime: str) -> dict[str, str]:
    return libraries.installed(runtimes.get(runtime).libraries)
