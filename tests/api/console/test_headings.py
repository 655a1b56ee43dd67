"""Every heading of the console's tables and tiles says in a tooltip what it means: one meaning each, on all pages."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from api.console.headings import MEANINGS
from tests.api.conftest import Client, View
from tests.api.stand_in_worker import StandInWorker
from tests.support.service.environment import REPOSITORY

TEMPLATES = sorted((REPOSITORY / "api/console/templates/console").glob("*.html"))
SHOWN = re.compile(r"\b(?:column|term)\('([^']+)'")


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.stem)
def test_headings_come_from_the_macros_which_explain_them(path: Path) -> None:
    page = path.read_text()
    if path.stem != "parts":
        assert "<th" not in page.replace("<thead", "")
        assert not re.findall(r'<dl class="tiles">\s*<div><dt', page)
    assert set(SHOWN.findall(page)) <= MEANINGS.keys()
    # On a phone, a row is a card that has the headings as labels.
    labels = set(re.findall(r'data-label="([^"]+)"', page))
    assert labels <= set(SHOWN.findall(page))


def test_there_is_no_meaning_without_a_heading() -> None:
    assert {heading for path in TEMPLATES for heading in SHOWN.findall(path.read_text())} == MEANINGS.keys()


def test_pages_show_the_meanings_with_their_window_of_time(client: Client, adding: View, worker: StandInWorker) -> None:
    worker.report(adding)
    overview = client.get("/console").text
    assert f'<th scope="col" class="number" title="{MEANINGS["Queued"]}">Queued</th>' in overview
    assert 'title="95th percentile of whole-job time over the last 15 minutes">p95 (15\u00a0min)<' in overview
    shown = client.get("/console/deployments/adding").text
    assert f'<dt title="{MEANINGS["Queued"]}">Queued</dt>' in shown
    for page in (overview, shown):
        assert not re.findall(r"<th(?![^>]* title=)[^>]*>[^<]", page)
