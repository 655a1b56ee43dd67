"""A test client that holds every answer against the OpenAPI document and against what all answers promise."""

from __future__ import annotations

import json
import re
from functools import cache
from typing import Any, cast

from flask import Flask
from flask.testing import FlaskClient
from jsonschema import Draft202012Validator, FormatChecker
from werkzeug.exceptions import HTTPException
from werkzeug.routing import Rule
from werkzeug.test import TestResponse

from api.app import create_app
from api.http.route import operations_of
from api.openapi.document import describe_routes

#: How the names of the console's routes begin: pages for people, which no document describes.
PAGES = "console."
PROBLEM_MEMBERS = {"type", "title", "status", "detail", "code"}


class Answer(TestResponse):
    """An answer whose JSON a test looks into."""

    @property
    def json(self) -> Any:
        """The parsed body."""
        return self.get_json()


class DescribedClient(FlaskClient):
    """Fails the test whose request gets an answer that is not as described."""

    def open(self, *args: Any, **kwargs: Any) -> Answer:
        answer = super().open(*args, **kwargs)
        check(self.application, answer)
        return cast("Answer", answer)

    def get(self, *args: Any, **kwargs: Any) -> Answer:
        return self.open(*args, method="GET", **kwargs)

    def post(self, *args: Any, **kwargs: Any) -> Answer:
        return self.open(*args, method="POST", **kwargs)

    def delete(self, *args: Any, **kwargs: Any) -> Answer:
        return self.open(*args, method="DELETE", **kwargs)


def check(app: Flask, answer: TestResponse) -> None:
    """Fail unless this answer has a request id and is one that the OpenAPI document describes."""
    assert answer.headers.get("X-Request-ID"), answer
    if answer.request.method in ("HEAD", "OPTIONS"):
        return
    rule = rule_of(app, answer)
    if rule is not None and rule.endpoint.startswith(PAGES):
        check_page(answer)
    elif answer.status_code >= 400 and answer.mimetype != "application/json":
        check_problem(answer)
    if rule is not None and rule.endpoint in _operations():
        check_described(rule.endpoint, answer)


#: Each line is held against the schema.
LINES = "application/x-ndjson"
BINARY = ("application/octet-stream", "application/vnd.apache.parquet")


def check_page(answer: TestResponse) -> None:
    """Fail unless this may run nothing but our own script, and is kept nowhere."""
    policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert answer.headers["X-Frame-Options"] == "DENY"
    assert answer.headers["Referrer-Policy"] == "same-origin"
    if answer.mimetype == "text/html":
        assert answer.headers["Cache-Control"] == "no-store"
        assert not re.search(r"<script>|\bon\w+=|\bstyle=|<style|javascript:", answer.text), (
            "something that the policy stops"
        )


def check_problem(answer: TestResponse) -> None:
    """Fail unless this is a problem document that says its status, a code, and what to do."""
    assert answer.mimetype == "application/problem+json", (answer.status, answer.mimetype, answer.text)
    document = json.loads(answer.text)
    assert document.keys() >= PROBLEM_MEMBERS
    assert document["status"] == answer.status_code
    assert document["type"] == f"urn:queuecast:problem:{document['code']}"
    assert document["detail"]
    assert answer.status_code != 503 or "Retry-After" in answer.headers


def check_described(endpoint: str, answer: TestResponse) -> None:
    """Fail unless the route's description has this status, this kind of body, and this body's schema."""
    described = _operations()[endpoint]["responses"].get(str(answer.status_code))
    assert described, f"{endpoint} answered {answer.status}, which /openapi.json doesn't describe: {answer.text}"
    if answer.mimetype == LINES:
        for line in answer.data.splitlines():
            _validator(endpoint, answer.status_code, LINES).validate(json.loads(line))
        return
    if not answer.data:
        assert "content" not in described
        return
    assert answer.mimetype in described["content"], (endpoint, answer.status, answer.mimetype)
    if answer.mimetype not in BINARY:
        body = json.loads(answer.text) if str(answer.mimetype).endswith("json") else answer.text
        _validator(endpoint, answer.status_code, answer.mimetype).validate(body)


def rule_of(app: Flask, answer: TestResponse) -> Rule | None:
    """Return the route that answered, None if there is none for this address and method."""
    asked = answer.request
    try:
        rule, _ = app.url_map.bind("").match(asked.path, method=asked.method, return_rule=True)
    except HTTPException:
        return None
    return rule


@cache
def description() -> dict[str, Any]:
    """The part of the OpenAPI document that is the same for every registry."""
    return describe_routes(create_app())


@cache
def _operations() -> dict[str, dict[str, Any]]:
    operations = [each for path in description()["paths"].values() for each in path.values()]
    by_id = {each["operationId"]: each for each in operations}
    return {endpoint: by_id[endpoint.replace(".", "_")] for endpoint in operations_of(create_app())}


@cache
def _validator(endpoint: str, status: int, media_type: str) -> Draft202012Validator:
    schema = _operations()[endpoint]["responses"][str(status)]["content"][media_type]["schema"]
    return validator(schema)


def validator(schema: dict[str, Any]) -> Draft202012Validator:
    """Return what checks values against a schema that may refer to the document's components."""
    return Draft202012Validator(
        {**schema, "components": description()["components"]}, format_checker=FormatChecker(["date-time"])
    )
