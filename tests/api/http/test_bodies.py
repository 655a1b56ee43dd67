"""Bodies are decoded as their headers say, and whole or refused, whichever way they are sent."""

from __future__ import annotations

import gzip
import io
import json
import zlib
from collections.abc import Callable
from typing import Any

import pytest

from tests.api.conftest import MAX_BYTES, Client, View
from tests.api.described_client import Answer
from workers.jobs import query

BODY = json.dumps({"input": [1, 2]}).encode()
LINES = BODY + b"\n" + BODY + b"\n"
LOOKUP = json.dumps({"job_ids": ["00000000-0000-4000-8000-000000000000"]}).encode()


def bare_deflate(content: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packer.compress(content) + packer.flush()


def post(client: Client, path: str, body: bytes, encoding: str) -> Answer:
    return client.post(path, data=body, headers={"Content-Encoding": encoding})


def chunked(client: Client, path: str, body: bytes, **headers: str) -> Answer:
    """Send a body that says nothing of its length, as the server hands it on."""
    terminated = {"wsgi.input_terminated": True, "HTTP_TRANSFER_ENCODING": "chunked"}
    return client.post(path, input_stream=io.BytesIO(body), environ_overrides=terminated, headers=headers)


@pytest.mark.parametrize("path", ["/predict/adding", "/predict/adding/bulk", "/jobs/lookup", "/v2/models/adding/infer"])
@pytest.mark.parametrize(
    ("encode", "encoding"),
    [
        (gzip.compress, "gzip"),
        (gzip.compress, "X-GZip"),
        (zlib.compress, "deflate"),
        (bare_deflate, "deflate"),
        (lambda body: gzip.compress(zlib.compress(body)), "deflate, gzip"),
        (bytes, "identity"),
    ],
    ids=["gzip", "x-gzip", "deflate", "bare", "both", "identity"],
)
def test_a_body_is_decoded_wherever_one_is_read(
    client: Client, adding: View, path: str, encode: Callable[[bytes], bytes], encoding: str
) -> None:
    wrong = {"/predict/adding": b'{"input": 1}', "/jobs/lookup": b"{}"}.get(path, b"[]")
    body = {"/predict/adding": BODY, "/predict/adding/bulk": LINES, "/jobs/lookup": LOOKUP}.get(path)
    if body is not None:
        assert post(client, path, encode(body), encoding).status_code in (200, 202)
    assert post(client, path, encode(wrong), encoding).status_code == 422
    if encode is bytes:
        return
    bomb = post(client, path, encode(b" " * (MAX_BYTES + 1)), encoding)
    assert (bomb.status_code, bomb.json["code"]) == (413, "body_too_large")
    cut = post(client, path, encode(wrong)[:-3], encoding)
    assert (cut.status_code, cut.json["code"]) == (400, "request_malformed")


@pytest.mark.parametrize("encoding", ["br", "zstd", "gzip, br", "gzip, gzip, gzip, gzip"])
def test_an_encoding_that_is_not_known_is_a_415(client: Client, adding: View, encoding: str) -> None:
    for path in ("/predict/adding", "/predict/adding/bulk", "/jobs/lookup"):
        answer = post(client, path, BODY, encoding)
        assert (answer.status_code, answer.json["code"]) == (415, "media_type_wrong")


def test_a_registration_can_not_be_encoded(client: Client) -> None:
    headers = {"Content-Encoding": "gzip", "Content-Type": "multipart/form-data; boundary=x"}
    answer = client.post("/models", data=b"--x--", headers=headers)
    assert (answer.status_code, answer.json["code"]) == (415, "media_type_wrong")


@pytest.mark.parametrize("path", ["/predict/adding", "/predict/adding/bulk", "/v2/models/adding/infer"])
def test_a_chunked_body_over_the_limit_is_refused_whole(client: Client, adding: View, path: str) -> None:
    line = BODY + b"\n"
    lines = line * (MAX_BYTES // len(line) + 1)
    answer = chunked(client, path, lines, **{"Content-Type": "application/x-ndjson"})
    assert (answer.status_code, answer.json["code"]) == (413, "body_too_large")
    assert query.recent() == []


def test_a_chunked_body_of_exactly_the_limit_is_taken(client: Client, adding: View) -> None:
    body = BODY + b" " * (MAX_BYTES - len(BODY))
    assert chunked(client, "/predict/adding", body).status_code == 202
    assert chunked(client, "/predict/adding", body + b" ").status_code == 413


# werkzeug leaves the part that it was reading to the garbage collector
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_chunked_form_of_parts_over_the_limit_is_refused(client: Client) -> None:
    head = b'--x\r\nContent-Disposition: form-data; name="artifact"; filename="m"\r\n\r\n'
    body = head + b"m" * (4 * MAX_BYTES) + b"\r\n--x--\r\n"
    answer = chunked(client, "/models", body, **{"Content-Type": "multipart/form-data; boundary=x"})
    assert (answer.status_code, answer.json["code"]) == (413, "body_too_large")


def test_a_body_that_is_shorter_than_it_says_is_refused(client: Client, adding: View) -> None:
    environ: dict[str, Any] = {"wsgi.input_terminated": True, "CONTENT_LENGTH": str(len(BODY) + 5)}
    answer = client.post("/predict/adding", input_stream=io.BytesIO(BODY), environ_overrides=environ)
    assert (answer.status_code, answer.json["code"]) == (400, "request_malformed")


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/jobs/cancel", {"endpoint_name": "adding", "cursor": False}),
        ("/jobs/cancel", {"endpoint_name": "adding", "older_than_s": True}),
        ("/predict/adding", {"input": [1, 2], "expires_in_s": True}),
    ],
)
def test_a_boolean_is_no_number(client: Client, adding: View, path: str, body: dict[str, Any]) -> None:
    answer = client.post(path, json=body)
    assert (answer.status_code, answer.json["code"]) == (422, "request_invalid")
    assert "should be a number" in answer.json["detail"]
