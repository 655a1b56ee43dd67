"""Behind a reverse proxy that shows the service under a path: every address that it names begins with that path."""

from __future__ import annotations

import re
from typing import Any

import pytest
from flask import Flask, request
from werkzeug.test import create_environ

from api.app import create_app
from api.errors import SettingsWrong
from api.http.forwarded import TrustedProxies, client_address
from api.process import services
from api.settings import ApiSettings, AuthMode
from tests.api.conftest import MAX_BYTES, View
from tests.api.described_client import Answer, DescribedClient

LIMITS: dict[str, Any] = {"max_body_bytes": MAX_BYTES, "max_artifact_bytes": MAX_BYTES, "deployment_cache_s": 0}


class TestPrefixOfTheSettings:
    @pytest.fixture
    def settings(self) -> ApiSettings:
        return ApiSettings(root_path="/ml/cast", **LIMITS)

    @pytest.mark.parametrize("kept", ["/ml/cast", ""], ids=["kept", "stripped"])
    def test_addresses_begin_with_it_whether_the_proxy_keeps_or_strips_it(
        self, app: Flask, adding: View, kept: str
    ) -> None:
        client = DescribedClient(app, Answer)
        answer = client.post(f"{kept}/predict/adding", json={"input": [1, 2]})
        url = answer.json["url"]
        assert answer.headers["Location"] == url == f"/ml/cast/jobs/{answer.json['job_id']}"
        assert client.get(url).json["status"] == "queued"
        assert client.get(f"{kept}/openapi.json").json["servers"] == [{"url": "/ml/cast/"}]
        assert client.get(f"{kept}/").headers["Location"] == "/ml/cast/docs"
        link = client.post(f"{kept}/jobs/{answer.json['job_id']}/events-link").json["url"]
        assert link.startswith(f"{url}/events?ticket=")
        assert client.get("/health/live").status_code == 200

    def test_pages_of_the_console_lead_to_each_other(self, app: Flask, adding: View) -> None:
        answer = app.test_client().get("/ml/cast/console")
        assert answer.status_code == 200
        assert 'href="/ml/cast/console/jobs"' in answer.text
        assert 'href="/console' not in answer.text
        form = app.test_client().get("/ml/cast/console/try/adding")
        assert "Path=/ml/cast/console" in form.headers["Set-Cookie"]

    def test_a_path_that_only_begins_alike_is_not_below_it(self, app: Flask) -> None:
        assert app.test_client().get("/ml/castle/docs").status_code == 404


class TestPrefixOfATrustedProxy:
    @pytest.fixture
    def settings(self) -> ApiSettings:
        return ApiSettings(trusted_proxies="127.0.0.0/8, ::1", **LIMITS)

    def submitted(self, app: Flask, prefix: str, address: str = "127.0.0.1") -> str:
        answer = DescribedClient(app, Answer).post(
            "/predict/adding",
            json={"input": [1, 2]},
            headers={"X-Forwarded-Prefix": prefix},
            environ_overrides={"REMOTE_ADDR": address},
        )
        assert answer.status_code == 202
        return str(answer.json["url"])

    def test_its_header_counts(self, app: Flask, adding: View) -> None:
        assert self.submitted(app, "/ml").startswith("/ml/jobs/")
        assert self.submitted(app, "/ml/").startswith("/ml/jobs/")
        assert self.submitted(app, "/ml", "::1").startswith("/ml/jobs/")

    @pytest.mark.parametrize(
        "prefix", ["", "/", "ml", "//evil.example", "/a b", "/ml\\x", "/jobs", "https://evil.example"]
    )
    def test_what_is_no_path_or_one_of_the_services_own_is_ignored(self, app: Flask, adding: View, prefix: str) -> None:
        assert self.submitted(app, prefix).startswith("/jobs/")


class TestWhatATrustedProxySays:
    @pytest.fixture
    def settings(self) -> ApiSettings:
        return ApiSettings(trusted_proxies="127.0.0.1, 10.1.0.0/16", auth=AuthMode.ON, **LIMITS)

    def seen(self, app: Flask, address: str = "127.0.0.1", **forwarded: str) -> tuple[str, str, str]:
        """Scheme, host and client of a request, as the app sees it."""
        headers = {f"X-Forwarded-{name.capitalize()}": value for name, value in forwarded.items()}
        environ = create_environ(headers=headers, environ_overrides={"REMOTE_ADDR": address})
        TrustedProxies(services.of(app).settings.networks_of_proxies).apply(environ)
        with app.request_context(environ):
            return request.scheme, request.host, client_address()

    def test_scheme_and_host_are_those_of_the_browser(self, app: Flask) -> None:
        assert self.seen(app, proto="https", host="ml.example") == ("https", "ml.example", "127.0.0.1")
        assert self.seen(app, proto="http, HTTPS", host="a, [::1]:8443") == ("https", "[::1]:8443", "127.0.0.1")

    @pytest.mark.parametrize("host", ["a b", "evil.example/x", "a@b", "", "a:b"])
    def test_what_is_no_scheme_or_host_is_ignored(self, app: Flask, host: str) -> None:
        assert self.seen(app, proto="javascript", host=host)[:2] == ("http", "localhost")

    def test_the_client_is_the_last_that_is_no_trusted_proxy(self, app: Flask) -> None:
        for given, client in {
            "192.0.2.7": "192.0.2.7",
            "6.6.6.6, 192.0.2.7": "192.0.2.7",
            "192.0.2.7, 10.1.2.3": "192.0.2.7",
            "192.0.2.7, ::ffff:10.1.2.3": "192.0.2.7",
            "10.1.2.3": "10.1.2.3",
            "192.0.2.7, unknown": "127.0.0.1",
            "": "127.0.0.1",
        }.items():
            assert self.seen(app, **{"for": given})[2] == client, given

    def test_nobody_else_is_believed(self, app: Flask) -> None:
        found = self.seen(app, "192.0.2.1", proto="https", host="ml.example", **{"for": "1.2.3.4"})
        assert found == ("http", "localhost", "192.0.2.1")

    def test_forms_of_the_console_are_its_own_whatever_host_the_proxy_asks_for(self, app: Flask) -> None:
        client = app.test_client()
        given = {"X-Forwarded-Host": "ml.example", "X-Forwarded-Proto": "https"}
        page = client.get("/console/login", headers=given)
        assert "Secure" in page.headers["Set-Cookie"]
        [mark] = set(re.findall(r'name="form_mark" value="([0-9a-f]{64})"', page.text))
        cookie = {"Cookie": page.headers["Set-Cookie"].partition(";")[0]}
        for origin, status in (("https://ml.example", 401), ("https://evil.example", 403)):
            headers = {**given, **cookie, "Origin": origin}
            answer = client.post("/console/login", data={"form_mark": mark, "key": "no"}, headers=headers)
            assert answer.status_code == status


def test_the_header_of_anybody_else_is_ignored(app: Flask, adding: View) -> None:
    answer = DescribedClient(app, Answer).post(
        "/predict/adding", json={"input": [1, 2]}, headers={"X-Forwarded-Prefix": "/evil"}
    )
    assert answer.json["url"].startswith("/jobs/")


@pytest.mark.parametrize("root_path", ["/", "ml", "/ml/", "/a b", "//x"])
def test_a_prefix_that_is_no_path_is_refused(root_path: str) -> None:
    with pytest.raises(ValueError, match="root_path"):
        ApiSettings(root_path=root_path)


@pytest.mark.parametrize("root_path", ["/predict", "/jobs/x", "/console"])
def test_a_prefix_that_begins_as_the_services_own_addresses_is_refused(root_path: str) -> None:
    with pytest.raises(SettingsWrong, match="QUEUECAST_ROOT_PATH"):
        create_app(ApiSettings(root_path=root_path))
