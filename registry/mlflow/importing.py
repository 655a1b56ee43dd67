"""Imports MLflow model folders as versions: chooses flavor, runtime and artifact; loads no model."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed_version
from pathlib import Path
from platform import python_version
from typing import IO, Any

from sqlalchemy.orm import Session

from registry import names, runtimes, settings, versions
from registry.artifacts import archives
from registry.artifacts.store import ArtifactStore
from registry.database.json_documents import checked_metadata
from registry.environments import locking
from registry.environments.environment import Environment
from registry.errors import MlflowFolderInvalid, RuntimeOptionsInvalid
from registry.mlflow import signatures
from registry.mlflow.folder import MlflowFolder
from registry.runtimes.models import libraries
from registry.versions import ModelVersion

#: Files that MLflow writes beside a model's own files.
_ABOUT_THE_MODEL = frozenset({
    "MLmodel", "requirements.txt", "conda.yaml", "python_env.yaml", "input_example.json",
    "serving_input_example.json", "registered_model_meta",
})  # fmt: skip


@dataclass(frozen=True)
class _Plan:
    """The runtime and artifact of a folder; `file` is None if the whole folder is the artifact."""

    runtime: str
    options: dict[str, Any]
    file: Path | None = None
    warnings: list[str] = field(default_factory=list)


def import_folder(  # noqa: PLR0913 - the fields of a version, by name
    session: Session,
    store: ArtifactStore,
    name: str,
    archive: IO[bytes],
    *,
    max_unpacked_bytes: int,
    flavor: str | None = None,
    runtime_options: Mapping[str, Any] | None = None,
    signature: Mapping[str, Any] | None = None,
    input_example: Any = None,
    metadata: Mapping[str, Any] | None = None,
    version: str | None = None,
    environment: Mapping[str, Any] | None = None,
) -> ModelVersion:
    """Add the MLflow model folder in an archive as a version; the caller commits.

    Arguments take precedence over the folder. `metadata.mlflow` contains the model's origin, and warnings. With
    `environment={"from_folder": True}`, the version runs in the packages that the folder names.

    Raises:
        ArchiveInvalid, MlflowFolderInvalid: it can't be unpacked or imported; the message contains the reason.
        RegistryError: like `versions.add_version`.
    """
    names.check_model_name(name)
    with tempfile.TemporaryDirectory(prefix="queuecast-") as unpacked:
        archives.unpack(archive, Path(unpacked), max_unpacked_bytes)
        folder = MlflowFolder.read(Path(unpacked))
        chosen = flavor or _most_native(folder)
        plan = _plan(folder, chosen)
        locked = _locked(folder, plan.runtime, environment)
        of_versions = () if locked is not None else _version_warnings(folder, plan.runtime)
        warnings = [*plan.warnings, *of_versions]
        if signature is None and input_example is None:
            described, input_example = signatures.described(
                folder, by_mlflow=plan.runtime == "mlflow", warnings=warnings
            )
            signature = described.document()
        origin = {**folder.origin(), "flavor": chosen, "warnings": warnings}
        with _artifact(folder, plan) as artifact:
            return versions.add_version(
                session, store, name, artifact,
                runtime=plan.runtime,
                runtime_options={**plan.options, **(runtime_options or {})},
                signature=signature,
                input_example=input_example,
                metadata={"mlflow": origin, **_built_with(folder), **checked_metadata(metadata)},
                version=version,
                environment=locked,
            )  # fmt: skip


def _most_native(folder: MlflowFolder) -> str:
    if any(folder.flavor(name).get("code") for name in folder.flavors):
        return "python_function"  # the other runtimes don't support a folder's own code
    flavors = [name for name in _PLANS if name in folder.flavors]
    if not flavors:
        raise MlflowFolderInvalid(
            f"It has the flavors {', '.join(sorted(folder.flavors)) or '(none)'}; it needs one of {', '.join(_PLANS)}."
        )
    return flavors[0]


def _plan(folder: MlflowFolder, flavor: str) -> _Plan:
    if flavor not in _PLANS:
        raise MlflowFolderInvalid(f"The flavor {flavor!r} can't be imported; {', '.join(_PLANS)} can.")
    if flavor not in folder.flavors:
        raise MlflowFolderInvalid(f"It has no flavor {flavor!r}; it has {', '.join(sorted(folder.flavors))}.")
    return _PLANS[flavor](folder)


def _sklearn(folder: MlflowFolder) -> _Plan:
    conf = folder.flavor("sklearn")
    path = folder.file(conf.get("pickled_model", "model.pkl"))
    warnings: list[str] = []
    method = folder.flavor("python_function").get("predict_fn", "predict")
    try:
        options = runtimes.get("sklearn").check_options({"method": method})
    except RuntimeOptionsInvalid:
        options = {}
        warnings.append(f"Its pyfunc calls {method}(), which the runtime doesn't support: it calls predict().")
    if conf.get("code"):
        warnings.append(f"Its own code ({conf['code']}) is not included: workers must be able to import it.")
    if conf.get("serialization_format") != "skops":
        return _Plan("sklearn", options, path, warnings)
    return _Plan("skops", {**options, "trusted": conf.get("skops_trusted_types") or []}, path, warnings)


def _onnx(folder: MlflowFolder) -> _Plan:
    path = folder.file(folder.flavor("onnx").get("data", "model.onnx"))
    rest = [each for each in path.parent.iterdir() if each != path and each.name not in _ABOUT_THE_MODEL]
    if not any(each.is_file() for each in rest):
        return _Plan("onnx", {}, path)
    # Weights are in separate files, as by default in MLflow: include them.
    return _Plan("onnx", {"file": path.relative_to(folder.path).as_posix()})


def _python_function(folder: MlflowFolder) -> _Plan:
    if not folder.flavor("python_function").get("loader_module"):
        raise MlflowFolderInvalid("Its python_function flavor has no loader_module.")
    for name in _parts(folder.flavor("python_function")):
        folder.part(name)
    return _Plan("mlflow", {})


def _parts(conf: Mapping[str, Any]) -> Iterator[object]:
    """Yield the names of the files and folders that MLflow's loaders open."""
    yield from (conf[key] for key in ("data", "model_path", "python_model") if conf.get(key))
    if conf.get("model_code_path"):
        yield Path(str(conf["model_code_path"])).name  # MLflow searches for the file name alone
    artifacts = conf.get("artifacts")
    for each in artifacts.values() if isinstance(artifacts, dict) else ():
        if isinstance(each, dict) and each.get("path"):
            yield each["path"]


#: The flavors that can be imported, the most native first.
_PLANS: Mapping[str, Callable[[MlflowFolder], _Plan]] = {
    "sklearn": _sklearn,
    "onnx": _onnx,
    "python_function": _python_function,
}


@contextmanager
def _artifact(folder: MlflowFolder, plan: _Plan) -> Iterator[IO[bytes]]:
    if plan.file is not None:
        with plan.file.open("rb") as file:
            yield file
        return
    with tempfile.TemporaryFile() as packed:
        archives.pack(folder.path, packed)
        packed.seek(0)
        yield packed


def _locked(folder: MlflowFolder, runtime: str, environment: Mapping[str, Any] | None) -> Environment | None:
    """Return the locked environment of a registration; that of the folder where it asks for that."""
    if environment is None:
        return None
    if environment.get("from_folder"):
        named = {name: each for name, each in environment.items() if name != "from_folder"}
        environment = {**folder.environment(with_mlflow=runtime == "mlflow"), **named}
    return locking.locked(environment, settings.load())


def _built_with(folder: MlflowFolder) -> dict[str, dict[str, str]]:
    """Return the versions of Python and scikit-learn that MLmodel has, as a part of the metadata."""
    python = folder.flavor("python_function").get("python_version")
    found = {"python": python, "scikit-learn": folder.flavor("sklearn").get("sklearn_version")}
    known = {name: str(version) for name, version in found.items() if version}
    return {libraries.BUILT_WITH: known} if known else {}


def _version_warnings(folder: MlflowFolder, runtime: str) -> Iterator[str]:
    """Yield warnings about versions that differ from those when the model was saved."""
    yield from _difference("Python", folder.flavor("python_function").get("python_version"), python_version())
    if runtime in {"sklearn", "skops"}:
        saved_with = folder.flavor("sklearn").get("sklearn_version")
        yield from _difference("scikit-learn", saved_with, _installed("scikit-learn"))
    if runtime == "mlflow":
        here = _installed("mlflow-skinny") or _installed("mlflow")
        if here is None:
            yield "MLflow is not installed here; workers require it: pip install 'queuecast[mlflow]'."
        saved, installed = str(folder.mlmodel.get("mlflow_version", "")), str(here)
        if here is not None and saved.partition(".")[0] != installed.partition(".")[0]:
            yield f"It was saved with MLflow {saved or '1 or 2'}; here is {installed}."


def _difference(what: str, saved: object, here: str | None) -> Iterator[str]:
    if saved and here and str(saved).split(".")[:2] != here.split(".")[:2]:
        yield f"It was saved with {what} {saved}; here is {here}, which may not load it."


def _installed(library: str) -> str | None:
    try:
        return installed_version(library)
    except PackageNotFoundError:
        return None
