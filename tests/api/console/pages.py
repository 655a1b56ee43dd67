"""Pages of the console as a person reads them, and their forms as a browser sends them."""

from __future__ import annotations

import html
import re

from tests.api.conftest import Client
from tests.api.described_client import Answer


def text_of(answer: Answer) -> str:
    """What a person reads, in one line."""
    body = re.sub(r"<(script|head).*?</\1>", " ", answer.text, flags=re.DOTALL)
    body = re.sub(r"</?(?:b|code|small)>", "", body)
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", body)).split())


def page(client: Client, address: str, status: int = 200) -> str:
    """Open a page; return what a person reads there."""
    answer = client.get(f"/console{address}")
    assert (answer.status_code, answer.mimetype) == (status, "text/html"), answer.text
    return text_of(answer)


def fields(answer: Answer) -> dict[str, str]:
    """The hidden fields of the form of a page."""
    found = re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)"', answer.text)
    return {name: html.unescape(value) for name, value in found}


def confirm(client: Client, asked: str, sent_to: str | None = None, **more: str) -> Answer:
    """Open the page that asks, and send its form, perhaps to another address."""
    answer = client.get(f"/console{asked}")
    assert answer.status_code == 200, answer.text
    return client.post(f"/console{sent_to or asked}", data={**fields(answer), **more})


def problems(answer: Answer) -> dict[str, str]:
    """What is said at each field of a form."""
    found = re.findall(r'<span class="wrong" id="problem-(\w*)" role="alert">([^<]*)<', answer.text)
    return {name: html.unescape(message) for name, message in found}
