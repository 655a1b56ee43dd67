"""Registers versions of models, and shows models."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

from api.client import arrays
from api.client.documents import Model, ModelVersion
from api.client.errors import ClientError, NotFound
from api.client.flows.calls import call, lost_on_the_way
from api.client.options import RegisterOptions, given
from api.client.steps import Document, Flow, Repeat, Request, Upload, path_of
from api.client.tables import examples

#: What a file's name tells about how it is loaded; of other files, the service finds it out.
RUNTIME_BY_SUFFIX = {".onnx": "onnx", ".skops": "skops"}
#: What makes two versions the same, beside the artifact.
_DESCRIBED = ("runtime", "runtime_options", "input_example", "metadata")
_TRIES = 3


def described(name: str, options: RegisterOptions, **named: str | None) -> dict[str, Any]:
    """Return the description of a version, without what is None.

    Raises:
        TypeError: an option is unknown.
        SettingsWrong: a data frame as the example has columns that no signature can be taken from.
    """
    return {"name": name, **examples.described(given(RegisterOptions, options))} | {
        field: value for field, value in named.items() if value is not None
    }


def upload_of(artifact: str | Path | bytes | IO[bytes], described: Mapping[str, Any]) -> Upload:
    """Return an artifact and its description as they are sent. Raises InputNotJson."""
    if isinstance(artifact, str):
        artifact = Path(artifact)
    runtime = described.get("runtime")
    if runtime is None and isinstance(artifact, Path):
        runtime = RUNTIME_BY_SUFFIX.get(artifact.suffix)
    named = {} if runtime is None else {"runtime": runtime}
    return Upload(artifact, arrays.to_json({**described, **named}).decode())


def register(upload: Upload, described: Mapping[str, Any], timeout_s: float) -> Flow[ModelVersion]:
    """Register an artifact as a version of a model; return the version.

    Two uploads would be two versions. So if an answer is lost, the model is looked at first: a latest version
    that is the same in every respect is taken for this one.
    """
    ends_at = time.monotonic() + timeout_s
    request = Request("POST", "/models", upload=upload, repeat=Repeat.UNDONE)
    for tries_left in reversed(range(_TRIES)):
        try:
            return ModelVersion.of((yield from call(request, ends_at)))
        except ClientError as error:  # noqa: PERF203 - each try sends a file
            if not lost_on_the_way(error) or time.monotonic() >= ends_at:
                raise
            found = yield from _registered(upload, described, ends_at)
            if found is not None:
                return found
            if not tries_left:
                raise
    raise AssertionError("every try returns or raises")


def import_mlflow(archive: IO[bytes], described: Mapping[str, Any], timeout_s: float) -> Flow[ModelVersion]:
    """Import an archive of an MLflow model folder as a version of a model; return the version."""
    upload = Upload(archive, arrays.to_json({**described, "format": "mlflow"}).decode())
    request = Request("POST", "/models", upload=upload, repeat=Repeat.UNDONE)
    return ModelVersion.of((yield from call(request, time.monotonic() + timeout_s)))


def _registered(upload: Upload, described: Mapping[str, Any], ends_at: float) -> Flow[ModelVersion | None]:
    try:
        model = yield from call(Request("GET", path_of("models", described["name"])), ends_at)
    except NotFound:
        return None
    wanted = described.get("version")
    versions = [each for each in model["versions"] if wanted in (None, each["version"])]
    if not versions or not _is_same(versions[-1], upload, described):
        return None
    return ModelVersion.of(versions[-1])


def _is_same(version: Document, upload: Upload, described: Mapping[str, Any]) -> bool:
    with upload.opened() as file:
        checksum = hashlib.sha256(file.read()).hexdigest()
    named = [name for name in _DESCRIBED if name in described]
    return version["artifact_sha256"] == checksum and all(
        arrays.to_json(version.get(name)) == arrays.to_json(described[name]) for name in named
    )


def list_models(text: str | None, tags: Mapping[str, str], ends_at: float) -> Flow[list[Model]]:
    """Return the models with this text in their names and with these tags, by name, without their versions."""
    query = {"q": text, **{f"tag.{name}": value for name, value in tags.items()}}
    found = yield from call(Request("GET", "/models", query), ends_at)
    return [Model.of(each) for each in found["models"]]


def show_model(name: str, ends_at: float) -> Flow[Model]:
    """Return a model and its versions. Raises NotFound."""
    return Model.of((yield from call(Request("GET", path_of("models", name)), ends_at)))


def show_version(name: str, version: str, ends_at: float) -> Flow[ModelVersion]:
    """Return one version. Raises NotFound."""
    return ModelVersion.of((yield from call(Request("GET", path_of("models", name, "versions", version)), ends_at)))


def delete_version(name: str, version: str, ends_at: float) -> Flow[None]:
    """Delete a version. Raises NotFound."""
    yield from call(Request("DELETE", path_of("models", name, "versions", version)), ends_at)


def prune_artifacts(wanted: Document, ends_at: float) -> Flow[Document]:
    """Delete artifacts that nothing needs; return the service's report."""
    content = arrays.to_json(wanted)
    headers = {"Content-Type": "application/json"}
    found = yield from call(Request("POST", "/artifacts/prune", headers=headers, content=content), ends_at)
    return found
