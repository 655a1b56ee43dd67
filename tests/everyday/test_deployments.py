"""Deployments are changed as docs/guides/changing-deployments.md says, from settings to the way back."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.everyday.conftest import Follow
from tests.support.calls import Document, expect
from tests.support.documentation import documented_file
from tests.support.models import Echo, Unloadable
from tests.support.servers import browser
from tests.support.servers.browser import Page
from tests.support.service.stack import Stack

PAGE = "changing-deployments.md"


@pytest.fixture
def house(service: Stack) -> Iterator[str]:
    """An endpoint that serves version 1 of two, at the first revision that the guide has."""
    if service.api.get("/models/house").status_code == 404:
        service.register("house", Echo("1"))
        service.register("house", Echo("2"))
    service.deploy("house", version="1", endpoint_name="house", reset=True)
    yield "house"
    service.undeploy("house", "reject")


def newest(service: Stack) -> Document:
    found = expect(200, service.api.get("/deployments/house/history"))
    change: Document = found["changes"][0]
    return change


def settings(service: Stack) -> Document:
    found: Document = service.view("house")["settings"]
    return found


def test_a_setting_is_changed_without_the_version(service: Stack, house: str, follow: Follow) -> None:
    said = follow(PAGE, "change settings")
    assert "house: hosts 1 → 2, max_queue_length 100000 → 5000\nhouse (house version 1) is active." in said
    assert (settings(service)["hosts"], service.view(house)["version"]) == (2, "1")
    assert "hosts 2 → 1, max_queue_length 5000 → 100000" in follow(PAGE, "unset a setting")
    assert settings(service)["max_queue_length"] == 100_000


def test_a_limit_that_is_too_low_is_refused_with_the_figures_while_it_serves(
    service: Stack, house: str, follow: Follow
) -> None:
    pids = service.view(house)["workers"][0]["pids"]
    said = follow(PAGE, "a limit that is too low")
    assert "house: max_memory_mb none → 16" in said
    assert "more than the 16 MiB of max_memory_mb." in said
    assert "Version 1 keeps serving with the settings of revision" in said
    assert "failed" in said
    assert service.view(house)["status"] == "degraded"
    assert service.predict(house, "a")["prediction"] == ["1", "a"]
    began = time.monotonic()
    assert "house (house version 1) is active." in follow(PAGE, "take the limit back")
    assert time.monotonic() - began < 30, "no pause of before is waited out"
    assert service.view(house)["workers"][0]["pids"] == pids


def test_a_swap_is_in_the_history_and_a_rollback_takes_it_back(service: Stack, house: str, follow: Follow) -> None:
    assert "house: version 1 → 2" in follow(PAGE, "swap the version")
    assert service.predict(house, "a")["prediction"] == ["2", "a"]
    said = follow(PAGE, "look back")
    assert "version 1 → 2" in said
    assert "queuecast rollback house goes to revision" in said
    said = follow(PAGE, "go back")
    assert "house: version 2 → 1" in said
    assert (newest(service)["rolled_back_to"], service.view(house)["version"]) == (1, "1")
    assert service.predict(house, "a")["prediction"] == ["1", "a"]


def test_the_history_page_leads_back_after_a_confirmation(service: Stack, house: str, tmp_path: Path) -> None:
    if (program := browser.program()) is None:
        pytest.skip("Chromium is not installed (Debian: apt-get install chromium)")
    service.deploy("house", version="2", endpoint_name="house", hosts=2)
    with Page(program, tmp_path) as page:
        page.go(f"{service.url}/console/deployments/house")
        page.leave(lambda: page.value("(document.querySelector('#deployment a[href$=\"/history\"]').click(), null)"))
        shown = page.value("document.querySelector('main tbody tr').innerText")
        assert "Version 1 → 2, Hosts 1 → 2" in " ".join(shown.split())
        page.size(1200, 800)
        page.picture(tmp_path / "history.png")
        page.size(390, 800)
        page.picture(tmp_path / "history-phone.png")
        page.leave(lambda: page.value("(document.querySelector('.actions .main').click(), null)"))
        assert "house version 1 serves again" in page.value("document.querySelector('main').innerText")
        page.leave(lambda: page.value("(document.querySelector('button.main').click(), null)"))
        page.wait_for("document.querySelector('#deployment').innerText.includes('house, version 1')")
    service.wait_for_status(house, "active")
    assert service.predict(house, "a")["prediction"] == ["1", "a"]


def test_a_deploy_after_an_undeploy_keeps_the_settings(service: Stack, house: str, follow: Follow) -> None:
    expect(200, service.api.patch("/deployments/house", json={"hosts": 2}, headers={"Prefer": "wait=30"}))
    assert "house: undeployed (drain) → served" in follow(PAGE, "undeploy and deploy again")
    assert (settings(service)["hosts"], service.view(house)["version"]) == (2, "1")
    assert "house: hosts 2 → 1" in follow(PAGE, "begin anew")


def test_a_drain_that_can_not_end_says_so_and_reject_ends_it(service: Stack, follow: Follow) -> None:
    service.register("broken", Unloadable())
    wanted = {"model_name": "broken", "endpoint_name": "broken"}
    expect(409, service.api.post("/deployments/deploy", json=wanted, headers={"Prefer": "wait=60"}))
    service.celery.send_task("predict", ["broken", "a"], queue="predict.broken")
    began = time.monotonic()
    said = follow(PAGE, "undeploy what can not be loaded")
    assert time.monotonic() - began < 60
    assert "No worker can load broken version 1" in said
    assert "broken is down (queued jobs: reject)." in said


def test_programs_change_and_go_back_over_http_and_with_the_client(
    service: Stack, house: str, follow: Follow, tmp_path: Path
) -> None:
    said = follow(PAGE, "over HTTP")
    assert '"changes":{"hosts":{"from":1,"to":2}}' in said.replace(" ", "")
    (tmp_path / "changes.py").write_text(documented_file(PAGE, "changes.py"))
    program = [sys.executable, str(tmp_path / "changes.py")]
    done = subprocess.run(program, env=service.env, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    first, *changes, last = done.stdout.splitlines()
    assert first == "{'hosts': {'from': 1, 'to': 2}}"
    assert len(changes) == 3
    assert changes[0].split()[1:4] == ["configure", "None", "active"]
    assert last == "1"
