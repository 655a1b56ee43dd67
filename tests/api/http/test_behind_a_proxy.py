"""The served API behind a reverse proxy, below a path: clients, the command line and browsers find their way."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urljoin, urlsplit

import httpx
import pytest

from api.client import Client
from tests.api.test_serve import Served
from tests.support.servers.reverse_proxy import ReverseProxy
from tests.support.service.environment import REPOSITORY, clean_environment

pytestmark = [pytest.mark.slow]

PREFIX = "/ml/cast"


@dataclass(frozen=True)
class Kind:
    """A way to set up service and proxy."""

    settings: dict[str, str]
    strips: bool
    headers: dict[str, str]


KINDS = {
    "set, kept": Kind({"QUEUECAST_ROOT_PATH": PREFIX}, strips=False, headers={}),
    "set, stripped": Kind({"QUEUECAST_ROOT_PATH": PREFIX}, strips=True, headers={}),
    "named, stripped": Kind(
        {"QUEUECAST_TRUSTED_PROXIES": "127.0.0.0/8"}, strips=True, headers={"X-Forwarded-Prefix": PREFIX}
    ),
    "named, kept": Kind(
        {"QUEUECAST_TRUSTED_PROXIES": "127.0.0.0/8"}, strips=False, headers={"X-Forwarded-Prefix": PREFIX}
    ),
}


@pytest.fixture(params=list(KINDS.values()), ids=list(KINDS))
def url(request: pytest.FixtureRequest, tmp_path: Path, redis_url: str, serving_file: Path) -> Iterator[str]:
    """Where the service is found from outside."""
    kind: Kind = request.param
    # Without keys, which tests of their own are about; a proxy is let in because of "off".
    served = Served(tmp_path, redis_url, serving_file, QUEUECAST_AUTH="off", **kind.settings)
    try:
        with ReverseProxy(served.port, PREFIX, strips=kind.strips, headers=kind.headers) as proxy:
            yield proxy.url
    finally:
        served.stop()


def test_clients_and_browsers_find_their_way_below_a_path(url: str) -> None:
    programs(url)
    addresses(url)
    pages(url)


def programs(url: str) -> None:
    """The Python client and the command line, whose base URL has a path."""
    with Client(url) as client:
        job = client.submit("adding", [1, 2])
        assert job.cancel().status == "cancelled"
        assert [each.endpoint_name for each in client.deployments()] == ["adding"]
    environment = clean_environment(QUEUECAST_URL=f"{url}/")
    command = [sys.executable, "-m", "api.cli", "predict", "adding", "[1, 2]", "--no-wait"]
    done = subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def addresses(url: str) -> None:
    """What answers say of where things are leads there."""
    with httpx.Client() as http:
        answer = http.post(f"{url}/predict/adding", json={"input": [1, 2]})
        for place in (answer.headers["Location"], answer.json()["url"]):
            assert http.get(urljoin(url, place)).json()["job_id"] == answer.json()["job_id"]
        many = http.post(f"{url}/predict/adding/bulk", json=[{"input": [1, 2]}]).json()
        listed = http.get(urljoin(url, many["url"])).json()["jobs"]
        assert many["job_ids"][0] in [each["job_id"] for each in listed]
        assert http.delete(urljoin(url, answer.headers["Location"])).status_code == 200
        link = http.post(f"{url}/jobs/{answer.json()['job_id']}/events-link")
        assert "event: cancelled" in http.get(urljoin(url, link.headers["Location"])).text
        [server] = http.get(f"{url}/openapi.json").json()["servers"]
        assert urljoin(f"{url}/openapi.json", server["url"]).rstrip("/") == url


def pages(url: str) -> None:
    """Every link of the pages leads below the path, and to a page."""
    with httpx.Client(follow_redirects=True) as http:
        for start in (url, f"{url}/"):
            page = http.get(start)
            assert (page.status_code, str(page.url)) == (200, f"{url}/docs")
        seen, due = set(), [f"{url}/docs", f"{url}/console"]
        while due:
            here = due.pop()
            seen.add(here)
            page = http.get(here)
            assert page.status_code == 200, here
            if not page.headers["Content-Type"].startswith("text/html"):
                continue
            found = re.findall(r'(href|src|action)="([^"#?]+)"', page.text)
            places = {(kind, urljoin(str(page.url), each)) for kind, each in found}
            ours = {(kind, each) for kind, each in places if urlsplit(each).netloc == urlsplit(url).netloc}
            assert all(each.startswith(f"{url}/") for _, each in ours), (here, ours)
            # Forms are sent, not opened.
            due += {each for kind, each in ours if kind != "action"} - seen - set(due)
        assert {f"{url}/console/models", f"{url}/console/jobs", f"{url}/openapi.json"} <= seen
