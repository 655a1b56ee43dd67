"""What is true of every answer: problem documents with stable codes, and request ids."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, NoReturn

import pytest
from flask import Flask
from werkzeug.exceptions import ImATeapot, TooManyRequests

import api.errors
import registry.errors
import workers.errors
from api.app import create_app
from api.errors import status_of
from api.settings import ApiSettings
from registry.errors import RegistryError
from tests.api.conftest import Client, View
from workers.errors import QueueUnavailable, WorkerError


def raising(error: Exception) -> Callable[[], NoReturn]:
    def view() -> NoReturn:
        raise error

    return view


@pytest.fixture
def made_app(settings: ApiSettings) -> Flask:
    """An app of each test's own: they give it routes that fail."""
    return create_app(settings)


@pytest.mark.parametrize(("method", "path"), [("GET", "/ghost"), ("POST", "/models/"), ("GET", "/%00"), ("PUT", "/x")])
def test_an_address_that_there_is_not_is_a_404_problem(client: Client, method: str, path: str) -> None:
    answer = client.open(path, method=method, follow_redirects=True)
    assert (answer.status_code, answer.json["code"]) == (404, "not_found")
    assert "/openapi.json" in answer.json["detail"]


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("PUT", "/models", {"GET", "HEAD", "OPTIONS", "POST"}),
        ("PUT", "/predict/adding", {"GET", "HEAD", "OPTIONS", "POST"}),
        ("PATCH", "/jobs/1", {"DELETE", "GET", "HEAD", "OPTIONS"}),
        ("DELETE", "/openapi.json", {"GET", "HEAD", "OPTIONS"}),
    ],
)
def test_a_wrong_method_is_a_405_problem_that_names_the_right_ones(
    client: Client, method: str, path: str, allowed: set[str]
) -> None:
    answer = client.open(path, method=method)
    assert (answer.status_code, answer.json["code"]) == (405, "method_not_allowed")
    assert set(answer.headers["Allow"].split(", ")) == allowed


def test_an_error_of_ours_is_a_500_problem_that_hides_it_and_ties_it_to_the_log(
    app: Flask, client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    app.view_functions["models.show_stats"] = raising(ZeroDivisionError("division by zero"))
    answer = client.get("/models/stats", headers={"X-Request-ID": "the-one"})
    assert (answer.status_code, answer.json["code"]) == (500, "internal_error")
    assert answer.json["request_id"] == answer.headers["X-Request-ID"] == "the-one"
    assert "division" not in answer.text
    assert "the-one" in caplog.text
    assert "ZeroDivisionError: division by zero" in caplog.text


def test_other_errors_of_flask_keep_their_status_text_and_headers(app: Flask, client: Client) -> None:
    app.add_url_rule("/refuse", "refuse", raising(TooManyRequests(retry_after=7)))
    app.add_url_rule("/teapot", "teapot", raising(ImATeapot("I take tea.")))
    answer = client.get("/refuse")
    assert (answer.status_code, answer.json["code"], answer.headers["Retry-After"]) == (429, "too_many_requests", "7")
    assert client.get("/teapot").json["detail"] == "I take tea."


@pytest.mark.parametrize("given", ["a", "01HF-x.y_z:1/2+3=", "i" * 128])
def test_a_request_id_comes_back(client: Client, given: str) -> None:
    for path in ("/health/live", "/ghost", "/docs"):
        assert client.get(path, headers={"X-Request-ID": given}).headers["X-Request-ID"] == given


@pytest.mark.parametrize("given", [None, "", "i" * 129, "two words", "<script>", "ü"])
def test_a_missing_or_unusable_request_id_is_replaced_by_a_new_one(client: Client, given: str | None) -> None:
    headers = {} if given is None else {"X-Request-ID": given}
    first, second = (client.get("/health/live", headers=headers).headers["X-Request-ID"] for _ in range(2))
    assert first != second
    assert len(first) == len(second) == 36


def test_every_domain_error_has_a_status_and_a_code_of_its_own() -> None:
    errors = {each for module in (registry.errors, workers.errors, api.errors) for each in _errors(module)}
    codes = [each.code for each in errors]
    # The same thing, found in different packages.
    shared = {"settings_wrong", "input_invalid", "prediction_failed", "queue_full"}
    assert {code for code in codes if codes.count(code) > 1} <= shared
    for code in codes:
        assert code == code.lower().replace("-", "_"), code


def _errors(module: Any) -> set[Any]:
    roots = (RegistryError, WorkerError, api.errors.ApiError)
    return {each for each in vars(module).values() if isinstance(each, type) and issubclass(each, roots)}


def test_the_nearest_class_decides_the_status() -> None:
    class ColourUnknown(registry.errors.SettingsInvalid):
        pass

    class Unheard(RegistryError):
        pass

    assert status_of(ColourUnknown()) == 422
    assert status_of(Unheard()) == 500


def test_a_domain_error_that_nobody_maps_is_a_500_in_the_log(
    app: Flask, client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    app.add_url_rule("/damage", "damage", raising(RegistryError("The registry has a hole.")))
    with caplog.at_level(logging.WARNING):
        answer = client.get("/damage", headers={"X-Request-ID": "the-one"})
    assert (answer.status_code, answer.json["code"]) == (500, "registry_error")
    assert "the-one" in caplog.text


def test_an_outage_is_one_line_in_the_log_with_its_reason(
    app: Flask, client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    lost = QueueUnavailable("The queue is away.")
    lost.__cause__ = ConnectionError("connection refused\nmore of it")
    app.add_url_rule("/away", "away", raising(lost))
    with caplog.at_level(logging.WARNING):
        assert client.get("/away").status_code == 503
    [record] = caplog.records
    assert record.getMessage().endswith("QueueUnavailable: The queue is away. (ConnectionError: connection refused)")
    assert record.exc_info is None


def test_head_and_options_are_answered(client: Client, adding: View) -> None:
    assert client.head("/deployments/adding").status_code == 200
    assert client.head("/deployments/ghost").status_code == 404
    assert "POST" in client.options("/predict/adding").headers["Allow"]
