"""Registering a model object from Python: it is stored only after it was loaded back and has predicted."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed_version
from pathlib import Path
from platform import python_version
from typing import Any

from sqlalchemy.orm import Session

from registry import names, runtimes, settings, versions
from registry.artifacts import ArtifactStore
from registry.errors import InputInvalid, ModelLoadFailed, OutputInvalid, RegistryError, SignatureInvalid
from registry.json_documents import checked_metadata
from registry.runtimes.outputs import to_json
from registry.signature import Signature
from registry.versions import ModelVersion


def register(  # noqa: PLR0913 - what makes a version, each by name
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
) -> ModelVersion:
    """Serialize a model, try it on its example, and add it as a version; the caller commits.

    The runtime is guessed unless it is named; the signature is taken from the example unless it is
    given; the store is that of the settings. Metadata gets the versions of the libraries at work.

    Raises:
        NameInvalid, VersionExists, MetadataInvalid: as `versions.add_version`.
        SignatureInvalid, InputInvalid: neither signature nor example was given, or they don't agree.
        RuntimeUnknown, RuntimeUnavailable, RuntimeOptionsInvalid: it can't be stored so.
        ModelLoadFailed: it can't be serialized or loaded back, or fails on its own example.
        OutputInvalid: what it returns for the example can't be said in JSON.
        ArtifactStoreUnavailable: the artifact could not be stored.
    """
    names.check_model_name(name)
    example = _plain(input_example)
    checked = versions.signature_of(signature, example)
    runtime = runtime or runtimes.guess(model)
    options = runtimes.get(runtime).check_options(runtime_options or {})
    artifact = _serialized(runtime, model)
    _try(runtime, artifact, options, checked, example)
    return versions.add_version(
        session,
        store or ArtifactStore(settings.load().artifacts_url),
        name,
        artifact,
        runtime=runtime,
        runtime_options=options,
        signature=checked,
        input_example=example,
        metadata={"built_with": _built_with(runtime), **checked_metadata(metadata)},
        version=version,
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


def _try(runtime: str, artifact: bytes, options: Mapping[str, Any], signature: Signature, example: Any) -> None:
    """Do what a model host will do, before anything is stored."""
    with tempfile.TemporaryDirectory(prefix="queuecast-") as folder:
        path = Path(folder) / "artifact"
        path.write_bytes(artifact)
        loaded = runtimes.load(runtime, path, options, signature)
        if example is None:
            return
        try:
            loaded.predict([example])
        except (OutputInvalid, InputInvalid):
            raise
        except Exception as error:
            raise ModelLoadFailed(f"The model fails on its example: {type(error).__name__}: {error}") from error


def _built_with(runtime: str) -> dict[str, str]:
    found = {"python": python_version()}
    for library in runtimes.get(runtime).libraries:
        try:
            found[library] = installed_version(library)
        except PackageNotFoundError:
            continue  # known by another name here, e.g. a build of onnxruntime for GPUs
    return found
