"""The documentation page as it is sent; tests/browser shows what it does."""

from __future__ import annotations

import re

from tests.api.conftest import Client


def test_the_page_talks_to_this_server_alone_and_runs_no_script_but_its_own(client: Client) -> None:
    answer = client.get("/docs")
    assert (answer.status_code, answer.mimetype) == (200, "text/html")
    policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "connect-src 'self'" in policy
    assert "unsafe" not in policy
    assert not re.search(r"<script>|\bon\w+=|\bstyle=|<style|javascript:", answer.text)
    loaded = re.findall(r'(?:src|<link rel="\w+" href)="([^"]+)"', answer.text)
    assert "/console/static/docs.js" in loaded
    for address in loaded:
        assert client.get(address).status_code == 200


def test_the_page_stands_in_the_frame_of_the_console(client: Client) -> None:
    text = client.get("/docs").text
    for address in ("/console", "/console/models", "/console/jobs"):
        assert f'<a href="{address}">' in text
    assert '<a href="/docs" title="The HTTP API, described and to be tried" aria-current="page">' in text
    assert 'aria-current="page">Overview' not in text


def test_the_root_leads_to_the_page(client: Client) -> None:
    answer = client.get("/")
    assert (answer.status_code, answer.headers["Location"]) == (302, "docs")
