"""The server blocks of the guide, in the real nginx and the real Caddy: TLS, large bodies, long waits, events."""

from __future__ import annotations

import json
import re
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.everyday.conftest import Follow, KeyedApi
from tests.support.calls import expect
from tests.support.documentation import text_of
from tests.support.models import Gate, dumped
from tests.support.servers.real_proxies import Caddy, Nginx, RealProxy

MEBIBYTE = 1024 * 1024
EVIL = {"X-Forwarded-Host": "evil.example", "X-Forwarded-Prefix": "/evil", "X-Forwarded-For": "192.0.2.1"}


@pytest.fixture(scope="module", autouse=True)
def _endpoint(keyed: KeyedApi) -> None:
    keyed.register("gate", Gate())
    keyed.deploy("gate", endpoint_name="gate")


@pytest.fixture(scope="module", params=[Nginx, Caddy], ids=lambda kind: kind.name)
def proxy(
    request: pytest.FixtureRequest, keyed: KeyedApi, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RealProxy]:
    kind: type[RealProxy] = request.param
    with kind(tmp_path_factory.mktemp(kind.name) / "proxy", keyed.port) as running:
        yield running


@pytest.fixture
def client(proxy: RealProxy, keyed: KeyedApi) -> Iterator[httpx.Client]:
    trust = ssl.create_default_context(cafile=str(proxy.certificate))
    with httpx.Client(base_url=proxy.url, verify=trust, timeout=60) as made:
        made.headers["Authorization"] = f"Bearer {keyed.key}"
        yield made


def test_plain_http_is_led_to_https_with_its_path(proxy: RealProxy) -> None:
    answer = httpx.post(f"{proxy.plain_url}/predict/gate?x=1", json={"input": "secret"})
    assert answer.status_code == 308
    assert re.fullmatch(r"https://localhost(:\d+)?/predict/gate\?x=1", answer.headers["Location"])


def test_a_job_is_submitted_waited_for_and_found_at_the_address_that_is_named(client: httpx.Client) -> None:
    done = expect(200, client.post("/predict/gate", json={"input": "row"}, headers={"Prefer": "wait=30", **EVIL}))
    assert done["prediction"] == ["", "row"]
    made = client.post("/predict/gate", json={"input": "row"}, headers=EVIL)
    assert made.headers["Location"].startswith("/jobs/")
    assert expect(200, client.get(f"{made.headers['Location']}?wait=30"))["status"] == "succeeded"


def test_the_key_is_asked_for_behind_the_proxy(client: httpx.Client) -> None:
    del client.headers["Authorization"]
    assert client.get("/jobs").json()["code"] == "api_key_missing"


def test_bodies_up_to_the_services_limits_come_through_and_larger_ones_do_not(client: httpx.Client) -> None:
    assert expect(202, client.post("/predict/gate", json={"input": "x" * (15 * MEBIBYTE)}))["status"] == "queued"
    # Caddy answers 502 if its limit is met when it passes on the body already.
    assert client.post("/predict/gate", json={"input": "x" * (17 * MEBIBYTE)}).status_code in (413, 502)
    metadata = json.dumps({"name": "large", "runtime": "python", "input_example": "row"})
    artifact = dumped(Gate("#" * (20 * MEBIBYTE)))
    registered = client.post("/models", files={"artifact": artifact}, data={"metadata": metadata})
    assert expect(201, registered)["artifact_size_bytes"] > 20 * MEBIBYTE


def test_events_come_at_once_and_not_when_the_stream_ends(client: httpx.Client, tmp_path: Path) -> None:
    gate = tmp_path / "open"
    job_id = expect(202, client.post("/predict/gate", json={"input": str(gate)}))["job_id"]
    late = threading.Timer(30, gate.touch)  # so that the test ends if nothing comes
    late.start()
    try:
        with client.stream("GET", f"/jobs/{job_id}/events") as stream:
            lines = stream.iter_lines()
            first = next(line for line in lines if line.startswith("data:"))
            assert not gate.exists(), "the first event came at the end"
            assert "succeeded" not in first
            gate.touch()
            assert any("succeeded" in line for line in lines)
    finally:
        late.cancel()
        gate.touch()


def test_a_wait_is_held_by_the_proxy_too(client: httpx.Client, tmp_path: Path) -> None:
    gate = tmp_path / "open"
    job_id = expect(202, client.post("/predict/gate", json={"input": str(gate)}))["job_id"]
    threading.Timer(3, gate.touch).start()
    assert expect(200, client.get(f"/jobs/{job_id}?wait=30"))["status"] == "succeeded"


def test_nginx_waits_longer_than_the_longest_wait() -> None:
    waits_s = [int(found) for found in re.findall(r"proxy_read_timeout (\d+)s", text_of("behind-a-proxy.md"))]
    assert min(waits_s) > 60


def test_one_logs_in_at_the_console_by_https_alone_and_another_sites_form_is_refused(
    client: httpx.Client, proxy: RealProxy, keyed: KeyedApi
) -> None:
    del client.headers["Authorization"]
    page = client.get("/console/login")
    cookie = page.headers["Set-Cookie"]
    assert "Secure" in cookie
    [mark] = re.findall(r'name="form_mark" value="(\w+)"', page.text)
    form = {"form_mark": mark, "key": keyed.key, "next": ""}
    evil = {"Origin": "https://evil.example", **EVIL}
    assert client.post("/console/login", data=form, headers=evil).status_code == 403
    assert client.post("/console/login", data=form, headers={"Origin": proxy.url}).status_code == 303
    assert client.get("/console/").status_code == 200


def test_the_command_works_through_the_proxy(proxy: RealProxy, keyed: KeyedApi, follow: Follow) -> None:
    keyed.deploy("quadratic_predictor", version="1")
    env = {"QUEUECAST_URL": proxy.url, "QUEUECAST_API_KEY": keyed.key, "SSL_CERT_FILE": str(proxy.certificate)}
    assert "0.68" in follow("behind-a-proxy.md", "look through the proxy", **env)
