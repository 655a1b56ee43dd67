"""Reads the form that registers a version by upload, as the request of a program is read: the same checks apply."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flask import request

from api.console import forms
from api.console.forms import Sent
from api.errors import FieldProblem, JsonInvalid, RequestInvalid
from api.http.flask_app import bodies
from api.http.reading import validated
from api.models import service as model_service
from api.models import upload
from api.models.schemas import Registration
from api.process.services import Services
from api.strict_json import json_text
from registry import runtimes
from registry.errors import NameInvalid, RegistryError

View = dict[str, Any]
#: The choice of a runtime that stands for an MLflow model folder, which says itself how it is loaded.
MLFLOW = "mlflow folder"
#: What a file's name tells about how it is loaded.
_BY_SUFFIX = {
    ".onnx": "onnx", ".skops": "skops", ".zip": MLFLOW, ".tar.gz": MLFLOW, ".tgz": MLFLOW, ".tar": MLFLOW,
}  # fmt: skip
_TEXTS = ("name", "version")
_DOCUMENTS = ("input_example", "runtime_options", "metadata", "signature")
#: Codes of the errors of a registration that its sender can fix, and the fields at which they appear.
_FIELD_OF = {
    "version_exists": "version",
    "runtime_unknown": "runtime",
    "runtime_undetected": "runtime",
    "runtime_unavailable": "runtime",
    "runtime_options_invalid": "runtime_options",
    "metadata_invalid": "metadata",
    "signature_invalid": "input_example",
    "input_invalid": "input_example",
    "input_unsuitable": "input_example",
    "archive_invalid": "artifact",
    "mlflow_folder_invalid": "artifact",
    "model_load_failed": "artifact",
    "output_invalid": "artifact",
}


def choices() -> list[tuple[str, str]]:
    """Return the ways to load an artifact that can be chosen, each with its text."""
    ways = [*(name for name in runtimes.names() if name != "mlflow"), MLFLOW]
    return [("", "detect from the file"), *((each, each) for each in ways)]


def register(here: Services, form: Mapping[str, str]) -> Sent[View]:
    """Register what was sent; errors that a user can fix become problems of the fields.

    Raises:
        RequestEntityTooLarge: the file is too large.
        ArtifactStoreUnavailable: it could not be stored.
    """
    return forms.send(lambda: _register(here, form), "")


def _register(here: Services, form: Mapping[str, str]) -> View:
    bodies.refuse_encoded()
    file = request.files.get("artifact")
    if file is None or not file.filename:
        raise RequestInvalid.of("artifact", "Choose the file of the model.")
    try:
        wanted = validated(Registration, _document(form, file.filename))
        return model_service.register(here, upload.sent_artifact(here.settings), wanted)
    except RegistryError as error:
        field = _field_of(error, form)
        if field is None:
            raise
        raise RequestInvalid.of(field, str(error)) from error
    finally:
        file.close()


def _field_of(error: RegistryError, form: Mapping[str, str]) -> str | None:
    if isinstance(error, NameInvalid):
        return "version" if error.name == form.get("version", "").strip() else "name"
    field = _FIELD_OF.get(error.code)
    # With a signature, it is the one that the example, or the model, doesn't fit.
    return "signature" if field == "input_example" and form.get("signature", "").strip() else field


def _document(form: Mapping[str, str], file_name: str) -> dict[str, Any]:
    given = {name: text.strip() for name, text in form.items() if text.strip()}
    document: dict[str, Any] = {name: given[name] for name in _TEXTS if name in given}
    document.update(_parsed({name: given[name] for name in _DOCUMENTS if name in given}))
    runtime = given.get("runtime") or _by_name(file_name)
    if runtime is not None:
        document.update({"format": "mlflow"} if runtime == MLFLOW else {"runtime": runtime})
    return document


def _parsed(texts: Mapping[str, str]) -> dict[str, Any]:
    """Parse the fields that are JSON. Raises RequestInvalid, which names each that is not."""
    found, problems = {}, []
    for name, text in texts.items():
        try:
            found[name] = json_text(text)
        except JsonInvalid as error:
            problems.append(FieldProblem(name, str(error).replace("The body", "This", 1)))
    if problems:
        raise RequestInvalid(problems)
    return found


def _by_name(file_name: str) -> str | None:
    """Return how a file of this name is loaded; None if its name doesn't tell."""
    return next((runtime for suffix, runtime in _BY_SUFFIX.items() if file_name.lower().endswith(suffix)), None)
