"""Pages of other sites: which may call the API, and what a browser is told (CORS)."""

from __future__ import annotations

import pytest

from api.errors import SettingsWrong
from api.settings import ApiSettings
from tests.api.conftest import MAX_BYTES, Client, View

SHOP = "https://shop.example"
PREFLIGHT = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization,idempotency-key"}


@pytest.fixture
def settings() -> ApiSettings:
    return ApiSettings(max_body_bytes=MAX_BYTES, max_artifact_bytes=MAX_BYTES, deployment_cache_s=0, cors_origins=SHOP)


def test_a_listed_page_may_submit_and_read_the_answer(client: Client, adding: View) -> None:
    answer = client.post("/predict/adding", json={"input": [1, 2]}, headers={"Origin": SHOP})
    assert answer.status_code == 202
    assert answer.headers["Access-Control-Allow-Origin"] == SHOP
    assert {"Location", "Retry-After", "X-Request-ID"} <= set(
        answer.headers["Access-Control-Expose-Headers"].split(", ")
    )
    assert "Origin" in answer.headers["Vary"]
    assert "Access-Control-Allow-Credentials" not in answer.headers


def test_errors_can_be_read_too(client: Client) -> None:
    for path in ("/predict/nothing", "/nowhere"):
        answer = client.post(path, json={"input": 1}, headers={"Origin": SHOP})
        assert (answer.status_code, answer.headers["Access-Control-Allow-Origin"]) == (404, SHOP)


def test_a_browser_is_told_before_it_asks(client: Client) -> None:
    answer = client.options("/predict/adding", headers={"Origin": SHOP, **PREFLIGHT})
    assert answer.status_code == 204
    assert answer.headers["Access-Control-Allow-Origin"] == SHOP
    assert "POST" in answer.headers["Access-Control-Allow-Methods"].split(", ")
    allowed = answer.headers["Access-Control-Allow-Headers"].lower().split(", ")
    assert {"authorization", "content-type", "idempotency-key", "prefer", "content-encoding"} <= set(allowed)


@pytest.mark.parametrize("origin", ["https://shop.example:8443", "http://shop.example", "https://evil.example", "null"])
def test_a_page_that_is_not_listed_is_refused(client: Client, adding: View, origin: str) -> None:
    for answer in (
        client.post("/predict/adding", json={"input": [1, 2]}, headers={"Origin": origin}),
        client.options("/predict/adding", headers={"Origin": origin, **PREFLIGHT}),
    ):
        assert answer.status_code == 403
        assert "Access-Control-Allow-Origin" not in answer.headers


@pytest.mark.parametrize("path", ["/console", "/console/login", "/console/jobs"])
def test_the_console_is_for_no_other_site(client: Client, path: str) -> None:
    for answer in (
        client.get(path, headers={"Origin": SHOP}),
        client.options(path, headers={"Origin": SHOP, **PREFLIGHT}),
    ):
        assert not [name for name in answer.headers.keys() if name.startswith("Access-Control")]  # noqa: SIM118


@pytest.mark.parametrize("origins", ["*", "shop.example", "https://shop.example/", "https://a.example, https://*.b"])
def test_only_origins_can_be_listed(monkeypatch: pytest.MonkeyPatch, origins: str) -> None:
    from api import settings

    monkeypatch.setenv("QUEUECAST_CORS_ORIGINS", origins)
    settings.load.cache_clear()
    with pytest.raises(SettingsWrong, match="QUEUECAST_CORS_ORIGINS"):
        settings.load()
    settings.load.cache_clear()
