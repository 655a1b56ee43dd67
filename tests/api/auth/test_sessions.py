"""Logging in at the console: what the cookie is worth, to whom, for how long, and what each role sees."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

import pytest
from flask import Flask
from flask.testing import FlaskClient

from api.auth.sessions import COOKIE
from api.process import services
from api.process.registry_cache import RegistryCache
from api.settings import ApiSettings, AuthMode
from registry.access import api_keys
from registry.database import default_database
from registry.roles import Role
from tests.api.conftest import MAX_BYTES, Client, View
from tests.api.described_client import PAGES
from workers import keys
from workers.embedded_redis.server import EmbeddedRedis
from workers.platform.redis.client import records_client

Enter = Callable[..., Client]


@pytest.fixture
def settings() -> ApiSettings:
    return ApiSettings(
        max_body_bytes=MAX_BYTES,
        max_artifact_bytes=MAX_BYTES,
        deployment_cache_s=0,
        auth=AuthMode.ON,
        api_key_cache_s=0,
    )


def made(name: str, role: Role, **limits: Any) -> str:
    """Make a key next to the database, as the command line does."""
    with default_database().session() as session:
        _, text = api_keys.create(session, name, role, **limits)
        session.commit()
    return text


def mark(client: FlaskClient, address: str = "/console/login") -> str:
    """The mark of this browser's forms."""
    [found] = set(re.findall(r'name="form_mark" value="([0-9a-f]{64})"', client.get(address).text))
    return str(found)


def log_in(client: FlaskClient, key: str, wanted: str = "", **more: Any) -> Any:
    form = {"form_mark": mark(client), "key": key, "next": wanted}
    return client.post("/console/login", data=form, **more)


@pytest.fixture
def enter(app: Flask, client: Client) -> Enter:
    """Log another browser in with a new key."""

    def entered(name: str = "me", role: Role = Role.OPERATOR, **limits: Any) -> Client:
        browser = app.test_client()
        assert isinstance(browser, Client)
        answer = log_in(browser, made(name, role, **limits))
        assert answer.status_code == 303, answer.text
        return browser

    return entered


@pytest.fixture
def adding(client: Client) -> View:
    """The endpoint "adding"."""
    client.register()
    key = {"Authorization": f"Bearer {made('deployer', Role.OPERATOR)}"}
    wanted = {"endpoint_name": "adding", "model_name": "adder"}
    view: View = client.post("/deployments/deploy", json=wanted, headers=key).json
    return view


def addresses(app: Flask, method: str) -> list[tuple[str, str]]:
    """Endpoint and an address of every route of the console."""
    routes = app.url_map.bind("")
    return [
        (rule.endpoint, routes.build(rule.endpoint, dict.fromkeys(rule.arguments, "none"), method))
        for rule in app.url_map.iter_rules()
        if rule.endpoint.startswith(PAGES) and method in (rule.methods or ())
    ]


def test_who_is_not_logged_in_is_led_to_the_login_and_back(app: Flask, client: Client) -> None:
    for endpoint, address in addresses(app, "GET"):
        answer = client.get(address)
        if "entrance" in endpoint or endpoint.endswith(".file"):
            continue
        assert answer.status_code == 303, endpoint
        assert answer.headers["Location"] == f"/console/login?next={address.replace('/', '%2F')}"
        assert client.get(address, headers={"X-Queuecast-Live": "1"}).status_code == 401
    answer = client.get("/console/jobs?status=failed&endpoint_name=a")
    wanted = "/console/jobs?status=failed&endpoint_name=a"
    assert f'name="next" value="{wanted.replace("&", "&amp;")}"' in client.get(answer.headers["Location"]).text
    assert log_in(client, made("me", Role.OPERATOR), wanted).headers["Location"] == wanted


def test_no_form_does_anything_for_who_is_not_logged_in(app: Flask, client: Client, adding: View) -> None:
    own = {"form_mark": mark(client), "revision": "1", "backlog": "reject", "model_name": "adder", "version": "1"}
    for endpoint, address in addresses(app, "POST"):
        if "entrance" not in endpoint:
            answer = client.post(address.replace("none", "adding"), data=own)
            assert (answer.status_code, urlsplit(answer.headers["Location"]).path) == (303, "/console/login")


@pytest.mark.parametrize(("role", "status"), [(None, 303), (Role.OPERATOR, 403), (Role.ADMIN, 413)])
def test_an_upload_of_somebody_who_is_no_admin_is_not_read(
    client: Client, enter: Enter, role: Role | None, status: int
) -> None:
    browser = client if role is None else enter(role=role)
    # Too large, which is found only by who reads it.
    form = {"form_mark": mark(browser), "artifact": (io.BytesIO(b"a" * (3 * MAX_BYTES)), "m.pkl")}
    answer = browser.post("/console/register", data=form, content_type="multipart/form-data")
    assert answer.status_code == status


def test_the_cookie_is_for_the_console_alone(client: Client, enter: Enter, adding: View) -> None:
    browser = enter()
    assert browser.get("/console").status_code == 200
    cookie = browser.get_cookie(COOKIE, path="/console")
    assert cookie is not None
    assert (cookie.path, cookie.http_only, cookie.same_site) == ("/console", True, "Strict")
    for address in ("/jobs", "/deployments", "/openapi.json"):
        headers = {"Cookie": f"{COOKIE}={cookie.value}"}
        assert client.get(address, headers=headers).json["code"] == "api_key_missing"


def test_a_key_in_a_header_opens_no_page(client: Client) -> None:
    headers = {"Authorization": f"Bearer {made('me', Role.ADMIN)}"}
    assert client.get("/console", headers=headers).status_code == 303


def test_the_cookie_is_secure_behind_https(client: Client) -> None:
    assert "Secure" not in client.get("/console/login").headers["Set-Cookie"]
    client.delete_cookie(COOKIE, path="/console")
    answer = client.get("/console/login", headers={"X-Forwarded-Proto": "https"})
    assert "Secure" in answer.headers["Set-Cookie"]


def test_a_login_makes_another_cookie_and_holds_no_key(client: Client) -> None:
    text = made("me", Role.OPERATOR)
    client.get("/console/login")
    before = client.get_cookie(COOKIE, path="/console")
    assert before is not None
    log_in(client, f"  {text}\n")
    after = client.get_cookie(COOKIE, path="/console")
    assert after is not None
    assert after.value != before.value
    [stored] = records_client().keys(keys.session("*"))
    assert after.value.encode() not in stored
    assert text.encode() not in cast("bytes", records_client().get(stored))
    assert 0 < records_client().ttl(stored) <= 12 * 3_600


@pytest.mark.parametrize("key", ["", "qc_00000000_" + "A" * 43, "é", "x" * 10_000])
def test_what_is_no_key_logs_nobody_in(client: Client, key: str) -> None:
    answer = log_in(client, key)
    assert answer.status_code == 401
    assert "There is no such key" in answer.text
    assert records_client().keys(keys.session("*")) == []


def test_wrong_keys_are_bounded_and_lock_nobody_out_who_has_a_right_one(client: Client) -> None:
    form = {"form_mark": mark(client), "key": made("me", Role.OPERATOR), "next": ""}
    wrong = {**form, "key": "qc_wrong"}
    answers = [client.post("/console/login", data=wrong)]
    # Some may be sent again each second, so that a slow machine sends more until it is refused.
    while answers[-1].status_code == 401 and len(answers) < 1000:
        answers.append(client.post("/console/login", data=wrong))
    assert (answers[0].status_code, answers[-1].status_code) == (401, 429)
    assert int(answers[-1].headers["Retry-After"]) >= 1
    elsewhere = {"REMOTE_ADDR": "192.0.2.7"}
    assert client.post("/console/login", data=wrong, environ_overrides=elsewhere).status_code == 401
    assert client.post("/console/login", data=form).status_code == 303


def test_who_has_shown_no_key_can_send_little(client: Client) -> None:
    form = {"form_mark": mark(client), "key": "x" * 20_000}
    for content_type in ("application/x-www-form-urlencoded", "multipart/form-data"):
        answer = client.post("/console/login", data=form, content_type=content_type)
        assert (answer.status_code, answer.mimetype) == (413, "text/html")
    assert client.post("/console/logout", data=form).status_code == 413


def test_few_forms_are_read_at_once_for_which_no_key_was_shown(app: Flask, client: Client, enter: Enter) -> None:
    inside = enter()
    form = {"form_mark": mark(client), "key": made("other", Role.OPERATOR)}
    with ExitStack() as held:
        for _ in range(32):
            held.enter_context(services.of(app).reading_unauthenticated())
        answer = client.post("/console/login", data=form)
        assert (answer.status_code, answer.headers["Retry-After"]) == (429, "5")
        logged_in = {"form_mark": mark(inside, "/console"), "revision": "1", "backlog": "drain"}
        assert inside.post("/console/deployments/none/undeploy", data=logged_in).status_code == 404
    assert client.post("/console/login", data=form).status_code == 303


@pytest.mark.parametrize(
    "wanted",
    [
        "https://evil.example/console", "//evil.example", "/\\evil.example", "/console@evil.example", "/consoles",
        "/console/\\..\\x", "/console/\r\nLocation: x", "javascript:alert(1)", "/docs", "",
    ],
)  # fmt: skip
def test_a_login_leads_nowhere_else(client: Client, wanted: str) -> None:
    answer = log_in(client, made("me", Role.OPERATOR), wanted)
    assert (answer.status_code, answer.headers["Location"]) == (303, "/console")


def test_a_revoked_key_ends_the_session(app: Flask, enter: Enter) -> None:
    services.of(app).api_keys = RegistryCache(0)
    browser = enter("me")
    with default_database().session() as session:
        api_keys.revoke(session, "me")
        session.commit()
    assert browser.get("/console").status_code == 303


def test_logging_out_ends_the_session_for_the_cookie_too(client: Client, enter: Enter) -> None:
    browser = enter()
    cookie = browser.get_cookie(COOKIE, path="/console")
    assert cookie is not None
    answer = browser.post("/console/logout", data={"form_mark": mark(browser, "/console")})
    assert "You are logged out." in browser.get(answer.headers["Location"]).text
    assert browser.get("/console").status_code == 303
    client.set_cookie(COOKIE, cookie.value, path="/console")
    assert client.get("/console").status_code == 303


def test_forms_of_another_session_or_site_are_refused(client: Client, enter: Enter, adding: View) -> None:
    mine, theirs = enter("mine"), enter("theirs")
    form = {"revision": "1", "backlog": "reject", "form_mark": mark(theirs, "/console")}
    assert mine.post("/console/deployments/adding/undeploy", data=form).status_code == 403
    form["form_mark"] = mark(mine, "/console")
    for origin in ("https://evil.example", "null", "http://localhost:9"):
        answer = mine.post("/console/deployments/adding/undeploy", data=form, headers={"Origin": origin})
        assert answer.status_code == 403, origin
        assert "another site" in answer.text
    headers = {"Origin": "http://localhost"}
    assert mine.post("/console/deployments/adding/undeploy", data=form, headers=headers).status_code == 303
    login = {"key": made("other", Role.OPERATOR), "next": ""}
    assert client.post("/console/login", data=login).status_code == 403


def test_a_client_tries_its_endpoints_and_sees_its_jobs_and_no_more(enter: Enter, adding: View, app: Flask) -> None:
    shop, other, operator = enter("shop", Role.CLIENT, endpoint_names=["adding"]), enter("other", Role.CLIENT), enter()
    assert shop.get("/console").headers["Location"] == "/console/try"
    shown = shop.get("/console/try").text
    assert "adding" in shown
    assert "Models" not in shown
    form = {"form_mark": mark(shop, "/console/try/adding"), "input": "[1, 2]", "priority": "normal"}
    services.of(app).ending.set()  # nobody is waited for
    answer = shop.post("/console/try/adding", data=form)
    [job_id] = set(re.findall(r"/console/jobs/([0-9a-f-]{36})", answer.text))
    assert job_id[:8] in shop.get("/console/jobs").text
    assert job_id[:8] not in other.get("/console/jobs").text
    assert other.get(f"/console/jobs/{job_id}").status_code == 404
    cancel = {"form_mark": mark(other, "/console/try"), "status": "queued"}
    assert other.post(f"/console/jobs/{job_id}/cancel", data=cancel).status_code == 404
    assert operator.get(f"/console/jobs/{job_id}").status_code == 200
    for address in ("/deployments/adding", "/models", "/dead-letters", "/deployments/adding/undeploy"):
        answer = shop.get(f"/console{address}")
        assert answer.status_code == 403, address
        assert "This needs a key of role operator" in answer.text
        assert "Try it</a>" in answer.text
        assert "Log out</button>" in answer.text
    limited = enter("limited", Role.CLIENT, endpoint_names=["else"])
    assert "Nothing takes predictions of your key" in limited.get("/console/try").text
    assert limited.get("/console/try/adding").status_code == 403


def test_below_a_prefix_a_login_leads_to_where_one_wanted_to_be(client: Client) -> None:
    at_prefix: dict[str, Any] = {"base_url": "http://localhost/ml/"}
    asked = client.get("/console/jobs?status=failed", **at_prefix).headers["Location"]
    assert asked == "/ml/console/login?next=%2Fml%2Fconsole%2Fjobs%3Fstatus%3Dfailed"


def test_an_outage_is_said_on_a_page_and_ends_no_session(
    enter: Enter, redis_server: EmbeddedRedis, data_dir: Path
) -> None:
    browser = enter()
    redis_server.stop()
    try:
        answer = browser.get("/console")
        assert (answer.status_code, answer.mimetype) == (503, "text/html")
        assert "Queue unavailable" in answer.text
        assert "Set-Cookie" not in answer.headers
    finally:
        redis_server.start()
    assert browser.get("/console/jobs").status_code == 200
    default_database().close()
    (data_dir / "registry.db").write_bytes(b"no database at all" * 100)
    answer = browser.get("/console")
    assert (answer.status_code, answer.mimetype) == (503, "text/html")
    assert "Registry unavailable" in answer.text
    assert "Set-Cookie" not in answer.headers


def test_services_on_two_ports_of_a_host_do_not_log_each_other_out(client: Client) -> None:
    answer = client.get("/console/login", base_url="http://localhost:8001")
    assert answer.headers["Set-Cookie"].startswith(f"{COOKIE}_8001=")
    answer = client.get("/console/login", base_url="http://[::1]")
    assert answer.headers["Set-Cookie"].startswith(f"{COOKIE}=")
