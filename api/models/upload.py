"""Reads a registration: a multipart body whose file is never in memory as a whole."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import IO

from flask import request
from werkzeug.exceptions import RequestEntityTooLarge

from api.errors import FieldProblem, MediaTypeWrong, RequestInvalid
from api.http.flask_app import bodies
from api.http.reading import validated
from api.models.schemas import Registration
from api.settings import ApiSettings
from api.strict_json import json_text

_ARTIFACT, _METADATA = "artifact", "metadata"
#: Part headers and boundaries, and the metadata next to the artifact.
_MULTIPART_OVERHEAD_BYTES = 64 * 1024


@contextmanager
def registration(settings: ApiSettings) -> Iterator[tuple[IO[bytes], Registration]]:
    """Yield the artifact, spooled to a temporary file, and the checked metadata.

    Raises:
        MediaTypeWrong: the body is not multipart/form-data.
        JsonInvalid, RequestInvalid: the metadata is wrong, or a part is missing or unknown.
        RequestEntityTooLarge: the artifact is larger than `max_artifact_bytes`.
    """
    if request.mimetype != "multipart/form-data":
        raise MediaTypeWrong('Send multipart/form-data with two parts: "artifact" (the file) and "metadata" (JSON).')
    bodies.refuse_encoded()
    make_room(settings)
    with ExitStack() as closing:
        try:
            for files in request.files.listvalues():
                for file in files:
                    closing.callback(file.close)
            _check_parts()
            metadata = validated(Registration, json_text(_metadata_text(settings)), prefix="metadata.")
            artifact = sent_artifact(settings)
        except RequestEntityTooLarge as error:
            raise RequestEntityTooLarge(limits(settings)) from error
        yield artifact, metadata


def make_room(settings: ApiSettings) -> None:
    """Let the body of this request be as long as an artifact and its metadata; before any of it is read."""
    request.max_content_length = settings.max_artifact_bytes + settings.max_body_bytes + _MULTIPART_OVERHEAD_BYTES
    request.max_form_memory_size = settings.max_body_bytes


def limits(settings: ApiSettings) -> str:
    """Say how long an artifact and its metadata may be."""
    return (
        f"An artifact may have {settings.max_artifact_bytes} bytes (QUEUECAST_MAX_ARTIFACT_BYTES), "
        f"its metadata {settings.max_body_bytes} (QUEUECAST_MAX_BODY_BYTES)."
    )


def _check_parts() -> None:
    files, texts = dict(request.files.lists()), dict(request.form.lists())
    given = [name for parts in (files, texts) for name, values in parts.items() for _ in values]
    problems = [FieldProblem(name, "is not a known part") for name in given if name not in (_ARTIFACT, _METADATA)]
    problems += [FieldProblem(name, "is given more than once") for name, times in Counter(given).items() if times > 1]
    if _ARTIFACT not in files:
        problems.append(FieldProblem(_ARTIFACT, "is required, as a file"))
    if _METADATA not in given:
        problems.append(FieldProblem(_METADATA, "is required, as JSON text"))
    if problems:
        raise RequestInvalid(problems)


def sent_artifact(settings: ApiSettings) -> IO[bytes]:
    """Return the file that this request has.

    Raises:
        RequestInvalid: it is empty.
        RequestEntityTooLarge: it is larger than `max_artifact_bytes`.
    """
    artifact = request.files[_ARTIFACT].stream
    size_bytes = _size_bytes(artifact)
    if size_bytes > settings.max_artifact_bytes:
        raise RequestEntityTooLarge
    if not size_bytes:
        raise RequestInvalid([FieldProblem(_ARTIFACT, "is an empty file")])
    return artifact


def _metadata_text(settings: ApiSettings) -> bytes | str:
    if _METADATA in request.form:
        return request.form[_METADATA]
    # `curl -F metadata=@file.json` sends a file, which no form limit has counted.
    text = request.files[_METADATA].stream.read(settings.max_body_bytes + 1)
    if len(text) > settings.max_body_bytes:
        raise RequestEntityTooLarge
    return text


def _size_bytes(file: IO[bytes]) -> int:
    size = file.seek(0, 2)
    file.seek(0)
    return size
