"""The documentation page as it is sent; tests/browser shows what it does."""

from __future__ import annotations

import re

from tests.api.conftest import Client


def test_the_page_is_one_file_whose_policy_lets_it_talk_to_this_server_alone(client: Client) -> None:
    answer = client.get("/docs")
    assert (answer.status_code, answer.mimetype) == (200, "text/html")
    policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "connect-src 'self'" in policy
    assert not re.search(r"https?://|//[a-z]+\.|src=|@import|\burl\(", answer.text)


def test_the_root_leads_to_the_page(client: Client) -> None:
    answer = client.get("/")
    assert (answer.status_code, answer.headers["Location"]) == (302, "docs")
