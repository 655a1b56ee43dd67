"""`EventSource` in a real browser: the page of docs/guides/events.md, and a stream over a restart of the API."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.support.documentation import documented_file, text_of
from tests.support.servers.browser import Page
from tests.support.service.ports import free_port, refuses_connections
from tests.support.service.processes import Child
from tests.support.service.stack import Stack
from tests.support.waiting import eventually

pytestmark = [pytest.mark.browser, pytest.mark.slow]
SHOWN = "document.querySelector('p').textContent"


@pytest.mark.long
def test_the_documented_page_watches_its_job_to_the_end_also_over_a_restart_of_the_api(
    page: Page, tmp_path: Path
) -> None:
    port = free_port()
    stack = Stack(
        tmp_path / "stack", env={"QUEUECAST_AUTH": "on", "QUEUECAST_EVENT_ORIGINS": f"http://127.0.0.1:{port}"}
    )
    admin = stack.queuecast("keys", "create", "me", "--role", "admin", "--new-registry").stdout.strip()
    shop_key = stack.queuecast("keys", "create", "shop").stdout.strip()
    with stack:
        stack.register_examples()
        stack.api.headers["Authorization"] = f"Bearer {admin}"
        wanted = {"model_name": "quadratic_predictor", "endpoint_name": "quadratic_predictor-v1"}
        assert stack.api.post("/deployments/deploy", json=wanted).status_code == 202
        html = re.findall(r"```html\n(.*?)```", text_of("events.md"), re.DOTALL)[0]
        (tmp_path / "shop.html").write_text(html)
        (tmp_path / "shop.py").write_text(
            documented_file("events.md", "shop.py").replace('"shop.html"', f'"{tmp_path}/shop.html"')
        )
        env = {**stack.env, "QUEUECAST_API_KEY": shop_key, "PORT": str(port)}
        with Child(["python", str(tmp_path / "shop.py")], env=env, log_path=tmp_path / "shop.log"):
            eventually(lambda: not refuses_connections(port), 30, message="shop.py listens")
            page.open(f"http://127.0.0.1:{port}/")
            # A page of the browser's own, which has buttons too, may still be there.
            page.wait_for(f"location.port === '{port}' && document.querySelector('button')?.onclick !== null")
            page.value("document.querySelector('button').click()")
            page.wait_for(f"{SHOWN} === 'queued'")
            stack.server.stop()
            stack.start_server()
            stack.start_worker()
            page.wait_for(f"{SHOWN}.startsWith('succeeded: 0.68')")
    # The page closed the source, and nothing went wrong that it could see.
    streams = [url for url in page.requested if "/events?ticket=" in url]
    assert streams
    assert page.said == []
    tickets = {url.partition("ticket=")[2] for url in streams}
    logs = "".join(path.read_text(errors="replace") for path in stack.logs.glob("*.log"))
    assert not any(each in logs for each in tickets)
