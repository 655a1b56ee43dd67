"""MLflow model folders; reads the MLmodel file and loads neither MLflow nor the model."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from registry.database.json_documents import checked_metadata
from registry.errors import EnvironmentInvalid, MetadataInvalid, MlflowFolderInvalid

_MLMODEL = "MLmodel"
_MAX_MLMODEL_BYTES = 4 << 20
_MAX_EXAMPLE_BYTES = 16 << 20
_MAX_REQUIREMENTS = 500
#: Fields of MLmodel that are kept with the version.
_PYTHON = re.compile(r"^python:\s*[\"']?([0-9.]+)", re.MULTILINE)
_NAME_END = re.compile(r"[^A-Za-z0-9._-]")
_MLFLOW = frozenset({"mlflow", "mlflow-skinny"})
_KEPT = ("run_id", "model_uuid", "model_id", "utc_time_created", "mlflow_version", "artifact_path", "metadata")


@dataclass(frozen=True)
class MlflowFolder:
    """A folder that `mlflow.….save_model` has written."""

    path: Path
    mlmodel: Mapping[str, Any]

    @classmethod
    def read(cls, path: Path) -> MlflowFolder:
        """Read the MLmodel of a folder, or of the only subfolder with one. Raises MlflowFolderInvalid."""
        places = [path, *sorted(each for each in path.iterdir() if each.is_dir())]
        found = [each for each in places if (each / _MLMODEL).is_file()]
        if not found or (found[0] != path and len(found) > 1):
            what = "several MLmodel files" if found else "no MLmodel file"
            raise MlflowFolderInvalid(f"It has {what}: send the folder that contains MLflow's MLmodel.")
        mlmodel = _parsed((found[0] / _MLMODEL).read_bytes())
        if not isinstance(mlmodel, dict) or not isinstance(mlmodel.get("flavors"), dict):
            raise MlflowFolderInvalid("Its MLmodel has no flavors.")
        return cls(found[0], mlmodel)

    @property
    def flavors(self) -> Mapping[str, Any]:
        """The flavors in MLmodel with their configurations."""
        return {name: conf if isinstance(conf, dict) else {} for name, conf in self.mlmodel["flavors"].items()}

    def flavor(self, name: str) -> Mapping[str, Any]:
        """Return the configuration of a flavor; empty if MLmodel doesn't contain it."""
        conf: Mapping[str, Any] = self.flavors.get(name, {})
        return conf

    def file(self, name: object) -> Path:
        """Return the path of a file in MLmodel. Raises MlflowFolderInvalid."""
        path = self.part(name)
        if not path.is_file():
            raise MlflowFolderInvalid(f"Its MLmodel names the file {str(name)!r}, which is a folder.")
        return path

    def part(self, name: object) -> Path:
        """Return the path of a file or folder in MLmodel. Raises MlflowFolderInvalid."""
        path = self.path / str(name)
        if not path.resolve().is_relative_to(self.path.resolve()) or not path.exists():
            raise MlflowFolderInvalid(f"Its MLmodel names the file {str(name)!r}, which is not in the folder.")
        return path

    def saved_signature(self) -> tuple[list[Any] | None, list[Any]]:
        """Return the inputs and the params of MLflow's signature; None if there is no signature."""
        saved = self.mlmodel.get("signature")
        if not isinstance(saved, dict) or not saved.get("inputs"):
            return None, []
        try:
            inputs, params = json.loads(saved["inputs"]), json.loads(saved.get("params") or "[]")
        except (TypeError, ValueError, RecursionError) as error:
            raise MlflowFolderInvalid("The signature in its MLmodel is not JSON.") from error
        if not isinstance(inputs, list) or not isinstance(params, list):
            raise MlflowFolderInvalid("The signature in its MLmodel is not a list of inputs.")
        return inputs, params

    def saved_example(self) -> tuple[str | None, Any]:
        """Return MLflow's name for the kind of the input example, and its content; None without an example."""
        info = self.mlmodel.get("saved_input_example_info")
        if not isinstance(info, dict) or "artifact_path" not in info:
            return None, None
        path = self.file(info["artifact_path"])
        if path.stat().st_size > _MAX_EXAMPLE_BYTES:
            return None, None
        try:
            content = json.loads(path.read_bytes())
        except (ValueError, RecursionError) as error:
            raise MlflowFolderInvalid(f"Its input example, {path.name}, is not JSON.") from error
        has_params = info.get("params") in {True, "true"} and isinstance(content, dict)
        return str(info.get("type")), content.get("inputs") if has_params else content

    def environment(self, *, with_mlflow: bool) -> dict[str, Any]:
        """Return the Python and the requirements that MLflow has written beside the model.

        MLflow itself is left out unless it is what loads the model: it brings fifty packages along.

        Raises:
            EnvironmentInvalid: there are none.
        """
        lines = [each for each in self._requirements() if with_mlflow or not _is_mlflow(each)]
        if not lines:
            raise EnvironmentInvalid("can't be taken from the folder, which has no requirements.txt with packages")
        path = self.path / "python_env.yaml"
        python = _PYTHON.search(path.read_text("utf-8", errors="replace")) if path.is_file() else None
        saved = python[1] if python else str(self.flavor("python_function").get("python_version", ""))
        named = ".".join(saved.split(".")[:2])
        return {"requirements": lines, **({"python": named} if named else {})}

    def _requirements(self) -> list[str]:
        path = self.path / "requirements.txt"
        return path.read_text("utf-8", errors="replace").splitlines() if path.is_file() else []

    def origin(self) -> dict[str, Any]:
        """Return the origin of the model as plain JSON. Raises MlflowFolderInvalid."""
        kept = {name: self.mlmodel[name] for name in _KEPT if self.mlmodel.get(name) not in (None, {})}
        lines = self._requirements()
        kept |= {"flavors": sorted(self.flavors), "requirements": [each for each in lines if each][:_MAX_REQUIREMENTS]}
        try:
            return checked_metadata(kept, default=str)
        except MetadataInvalid as error:
            raise MlflowFolderInvalid(f"Its MLmodel has fields that can't be kept as metadata. {error}") from error


def _is_mlflow(requirement: str) -> bool:
    return _NAME_END.split(requirement.strip(), maxsplit=1)[0].lower() in _MLFLOW


def _parsed(text: bytes) -> Any:
    import yaml

    if len(text) > _MAX_MLMODEL_BYTES:
        raise MlflowFolderInvalid(f"Its MLmodel has more than {_MAX_MLMODEL_BYTES} bytes.")
    if any(isinstance(each, yaml.events.AliasEvent) for each in _events(text)):
        raise MlflowFolderInvalid("Its MLmodel has YAML aliases, which MLflow never writes.")
    try:
        return yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506 - both are safe
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise MlflowFolderInvalid(f"Its MLmodel is not YAML: {error}") from error


def _events(text: bytes) -> Any:
    import yaml

    try:
        yield from yaml.parse(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise MlflowFolderInvalid(f"Its MLmodel is not YAML: {error}") from error
