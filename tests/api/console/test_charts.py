"""The charts of a deployment's page: drawn by the server, told in words, and the same as a table."""

from __future__ import annotations

import re
import time

from api.console import charts
from tests.api.conftest import Client, View
from tests.api.console.pages import page
from tests.api.stand_in_worker import StandInWorker
from workers.engine.upkeep import minutes


def test_bars_are_as_high_as_their_share_of_the_largest() -> None:
    assert charts.bars([0, None], 0) == ""
    heights = [float(each) for each in re.findall(r"V([\d.]+)h", charts.bars([0, 10, 5, 0.001], 10))]
    assert heights == [2, 46, charts.HEIGHT - 2]


def test_a_line_has_gaps_and_lone_values_are_points() -> None:
    assert charts.line([None, None], 0) == ""
    drawn = charts.line([1.0, 2.0, None, 2.0], 2.0)
    assert re.fullmatch(r"M40\.0 46\.0h0L120\.0 2\.0M280\.0 2\.0h0", drawn)


def test_a_page_shows_the_last_hour_and_day_in_words_and_as_a_table(
    client: Client, adding: View, worker: StandInWorker
) -> None:
    worker.report(adding)
    for _ in range(3):
        worker.succeed(client.submit(), "adding", 3)
    worker.fail(client.submit(), "adding", "no")
    minutes.keep(time.time())
    shown = page(client, "/deployments/adding")
    for title in ("The last hour", "The last 24 hours"):
        assert title in shown
    assert shown.count("4 jobs ended, 1 of them with an error.") == 4  # for eyes and for screen readers, hour and day
    assert "At most 4 jobs waited" in shown
    content = client.get("/console/deployments/adding").text
    assert len(re.findall(r"<svg viewBox=\"0 0 320 90\"[^>]*aria-labelledby", content)) == 6
    assert "style=" not in content  # the policy of the page forbids it


def test_a_page_of_an_endpoint_without_jobs_says_so(client: Client, adding: View) -> None:
    shown = page(client, "/deployments/adding")
    assert "0 jobs ended" in shown
    assert "No worker was running to look." in shown
    assert "No job has ended or waited in this time." in shown


def test_what_is_live_of_a_page_comes_without_charts_and_figures(client: Client, adding: View) -> None:
    answer = client.get("/console/deployments/adding", headers={"X-Queuecast-Live": "1"})
    assert answer.status_code == 200
    assert "The last hour" not in answer.text
