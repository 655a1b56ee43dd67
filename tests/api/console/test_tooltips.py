"""Every column of the console's tables says in a tooltip what it means."""

from __future__ import annotations

import re

from api.console import tooltips
from tests.api.conftest import Client, View
from tests.api.stand_in_worker import StandInWorker
from tests.support.environment import REPOSITORY

TEMPLATES = REPOSITORY / "api/console/templates/console"


def test_every_column_has_a_meaning() -> None:
    found = [
        each for page in TEMPLATES.glob("*.html") for each in re.findall(r"<th [^>]*>[^<]*</th>", page.read_text())
    ]
    assert len(found) > 40
    assert [each for each in map(tooltips.explained, found) if " title=" not in each] == []


def test_a_heading_with_a_title_of_its_own_keeps_it_and_content_stays_as_it_is() -> None:
    own = '<th scope="col" title="mine">Queued</th>'
    assert tooltips.explained(own) == own
    for text in ("<td>Queued</td>", "<dt>Unknown</dt>", "&lt;th&gt;Queued&lt;/th&gt;"):
        assert tooltips.explained(text) == text


def test_pages_show_the_meanings_with_their_window_of_time(client: Client, adding: View, worker: StandInWorker) -> None:
    worker.report(adding)
    overview = client.get("/console").text
    assert (
        '<th scope="col" class="number" title="Jobs that wait now, in the queue or in a worker">Queued</th>' in overview
    )
    shown = client.get("/console/deployments/adding").text
    assert '<dt title="Whole-job time, from submit to end, over the last 15 minutes">Latency</dt>' in shown
