"""The page at /docs in a real browser: it lists, sends and shows, and asks no other host."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.servers.browser import Page
from tests.support.service.stack import Stack

pytestmark = [pytest.mark.browser, pytest.mark.slow]

#: What stands in the open card of an endpoint.
ANSWER = "document.querySelector('#Endpoints details[open] .answer').innerText"


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A service without keys, for all tests but one."""
    with Stack(tmp_path_factory.mktemp("stack")) as running:
        yield running


def button(text: str) -> str:
    return (
        f"[...document.querySelectorAll('#Endpoints details[open] button')].find(each => each.textContent === '{text}')"
    )


def test_an_endpoint_is_listed_with_its_example_and_answers_it(stack: Stack, page: Page) -> None:
    stack.register_examples()
    stack.start_worker()
    stack.deploy("binary_classifier", endpoint_name="classifier_prod")
    page.open(f"{stack.url}/docs")
    page.wait_for("document.querySelector('#Endpoints details .path').textContent === '/predict/classifier_prod'")
    assert "[0.5, 0.8, 0.2]" in page.value("document.querySelector('#Endpoints details[open] textarea').value")
    assert page.value("[...document.querySelectorAll('h2')].map(each => each.textContent).join()") == (
        "Endpoints,Predictions,Jobs,Dead letters,Webhooks,Deployments,Journal,Evaluations,Rollouts,Models,"
        "Open Inference Protocol,Keys,Health"
    )

    page.value(f"{button('Send')}.click()")
    page.wait_for(f"{ANSWER}.includes('202 ')")
    page.value(f"{button('Wait for this job')}.click()")
    page.wait_for(f"{ANSWER}.includes('malignant')")
    page.value(f"{button('As curl')}.click()")
    assert f"{stack.url}/predict/classifier_prod" in page.value(
        "document.querySelector('#Endpoints details[open] .buttons + pre').textContent"
    )

    stack.undeploy("classifier_prod")
    page.open(f"{stack.url}/docs")
    page.wait_for("document.querySelector('#Endpoints p').textContent.startsWith('No endpoint takes predictions')")
    assert {url.split("/")[2] for url in page.requested if url.startswith("http")} == {f"127.0.0.1:{stack.port}"}
    assert page.said == []


@pytest.mark.long
def test_the_page_asks_for_a_key_and_sends_it_with_every_call(page: Page, tmp_path: Path) -> None:
    stack = Stack(tmp_path / "stack", env={"QUEUECAST_AUTH": "on"})
    # Before anything runs, as a person has to do it too.
    key = stack.queuecast("keys", "create", "me", "--role", "admin", "--new-registry").stdout.strip()
    with stack:
        page.open(f"{stack.url}/docs")
        page.wait_for("document.querySelector('#key input') !== null")
        assert "key" in page.value("document.getElementById('about').textContent")
        page.value(f"document.querySelector('#key input').value = '{key}'")
        page.value("document.querySelector('#key button').click()")
        page.wait_for("document.querySelector('#Jobs details') !== null")
        page.value("document.querySelector('#Keys details').open = true")
        page.wait_for("document.querySelector('#Keys details[open] .send') !== null")
        page.value("document.querySelector('#Keys details[open] .send').click()")
        page.wait_for("document.querySelector('#Keys details[open] .answer').innerText.includes('20')")
        page.value("[...document.querySelectorAll('nav button')][0].click()")
        page.wait_for("document.querySelector('#key input') !== null")


def test_a_description_that_cannot_be_read_is_said(stack: Stack, page: Page) -> None:
    page.open(f"{stack.url}/docs")
    page.wait_for("document.querySelectorAll('details').length > 10")
    page.value("(window.fetch = () => Promise.reject(new Error('gone')), null)")
    page.value("document.querySelector('#Health details').open = true")
    page.wait_for("document.querySelector('#Health details[open] .send') !== null")
    page.value("document.querySelector('#Health details[open] .send').click()")
    page.wait_for("document.querySelector('#Health details[open] .answer').innerText.includes('No answer: gone')")


def test_every_operation_unfolds_and_fits_on_a_phone(stack: Stack, page: Page) -> None:
    page.size(390, 844)
    page.open(f"{stack.url}/docs")
    page.wait_for("document.querySelectorAll('details').length")
    shown = page.value("[...document.querySelectorAll('summary .path')].map(each => each.textContent)")
    paths = stack.api.get("/openapi.json").json()["paths"]
    assert sorted(shown) == sorted(path for path, methods in paths.items() for _ in methods)
    page.value("document.querySelectorAll('details').forEach(each => { each.open = true; })")
    page.wait_for("[...document.querySelectorAll('.inside')].every(each => each.innerText.includes('Send'))")
    assert page.value("document.documentElement.scrollWidth") == 390
    assert page.said == []
