"""Reports of comparisons in a real browser: readable in light and dark, and on a phone."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import Flask, render_template_string
from werkzeug.serving import make_server

from api.app import create_app
from api.auth import guard
from api.auth.identity import Identity
from api.console.reports.section import report_section
from api.settings import ApiSettings
from registry.roles import Role
from tests.support.servers.browser import Page
from tests.support.service import reports

pytestmark = [pytest.mark.browser, pytest.mark.slow]
MADE = {
    "labels": reports.labels_report,
    "numbers": reports.numbers_report,
    "probabilities": reports.probabilities_report,
    "same": reports.same_report,
}
PAGE = """{% extends "console/layout.html" %}{% block title %}Report{% endblock %}
{% block main %}<h1>Evaluation of classifier_prod, version 4</h1>{{ section }}{% endblock %}"""


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """An app with a page for each example report."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("QUEUECAST_DATA_DIR", str(tmp_path_factory.mktemp("data")))
        patched.setattr(guard, "ANONYMOUS", Identity("shop", Role.OPERATOR))
        app = create_app(ApiSettings())
        add_pages(app)
        server = make_server("127.0.0.1", 0, app, threaded=True)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def add_pages(app: Flask) -> None:
    """Add the pages below the address of a page that exists."""

    def show(model_name: str) -> str:
        return render_template_string(PAGE, section=report_section(MADE[model_name]()))

    app.view_functions["console.models.show_model"] = show


@pytest.mark.parametrize("name", MADE)
@pytest.mark.parametrize(("width", "dark"), [(1280, False), (1280, True), (390, False)])
def test_a_report_is_drawn_in_words_and_charts_and_fits(
    page: Page, url: str, tmp_path: Path, name: str, width: int, *, dark: bool
) -> None:
    page.size(width, 900, dark=dark)
    page.go(f"{url}/console/models/{name}")
    assert page.value("document.querySelector('#report .verdict').getBoundingClientRect().top < 300")
    assert page.value("document.documentElement.scrollWidth <= window.innerWidth")
    drawn = page.value("[...document.querySelectorAll('#report path:not(.base)')].map(each => each.getTotalLength())")
    assert drawn
    assert max(drawn) > 20
    assert page.value("document.querySelectorAll('#report [style]').length") == 0
    page.picture(tmp_path / "report.png")
    assert (tmp_path / "report.png").stat().st_size > 10_000
    assert page.said == []
    assert {each for each in page.requested if each.startswith("http") and not each.startswith(url)} == set()
