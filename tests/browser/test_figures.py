"""The charts of a deployment's page in a real browser: drawn, told in words, and the same as a table."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from tests.support.models import Echo
from tests.support.servers.browser import Page
from tests.support.service.stack import Stack
from workers import keys
from workers.measures import figures

pytestmark = [pytest.mark.browser, pytest.mark.slow]
ENDPOINT = "charted"


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A service with an endpoint that had jobs over the last day."""
    with Stack(tmp_path_factory.mktemp("stack")) as running:
        running.start_worker()
        running.register("echo", Echo("one"), [1.0, 2.0])
        running.deploy("echo", endpoint_name=ENDPOINT)
        fill(redis.Redis.from_url(running.env["QUEUECAST_REDIS_URL"]))
        yield running


def fill(store: redis.Redis) -> None:
    """Write figures of an hour, and of the day before it."""
    minute = figures.minute_of(time.time())
    for ago in range(3, 60):
        times: dict[Any, Any] = {f"{letter}{figures.bucket(10.0 + ago % 7 * 4)}": 40 + ago for letter in "tqp"}
        store.hset(keys.minute(ENDPOINT, minute - ago), mapping={"s": 40 + ago, "f": ago % 11, "d": ago % 13, **times})
    for ago in range(8, 140):
        text = f"s={300 + ago * 3} f={ago % 20} t{20 + ago % 9}=200,100,30 q10=300 p18=300 d={ago % 50}"
        store.hset(keys.spans(ENDPOINT), str(minute // 10 - ago), text)


def test_charts_are_drawn_and_a_table_says_the_same(page: Page, stack: Stack, tmp_path: Path) -> None:
    page.size(1280, 900)
    page.go(f"{stack.url}/console/deployments/{ENDPOINT}")
    heights = page.value(
        "[...document.querySelectorAll('#figures-hour svg')].map(each => each.getBoundingClientRect().height)"
    )
    assert len(heights) == 3
    assert min(heights) > 50
    drawn = "[...document.querySelectorAll('#figures-hour path:not(.base)')].map(each => each.getTotalLength())"
    assert min(page.value(drawn)) > 50
    assert page.value("document.querySelector('#chart-hour-times-desc').textContent").startswith("Median ")
    assert page.value("document.querySelector('#figures-hour').open") is True
    assert page.value("document.querySelector('#figures-day').open") is False
    page.value("(document.querySelector('#figures-day > summary').click(), null)")
    page.value("(document.querySelector('#figures-day-table > summary').click(), null)")
    rows = page.value("document.querySelectorAll('#figures-day-table tbody tr').length")
    assert rows >= 130
    page.picture(tmp_path / "figures.png")
    assert (tmp_path / "figures.png").stat().st_size > 20_000
    # What looks again by itself closes nothing.
    page.value("(document.dispatchEvent(new Event('visibilitychange')), null)")
    page.wait_for("document.querySelector('#deployment') !== null")
    assert page.value("document.querySelector('#figures-day-table').open") is True
    assert page.said == []


def test_charts_fit_a_phone(page: Page, stack: Stack) -> None:
    page.size(390, 800, dark=True)
    page.go(f"{stack.url}/console/deployments/{ENDPOINT}")
    assert page.value("document.documentElement.scrollWidth <= window.innerWidth")
    widths = page.value(
        "[...document.querySelectorAll('#figures-hour figure')].map(each => each.getBoundingClientRect().width)"
    )
    assert min(widths) > 300
    lines = page.value("getComputedStyle(document.querySelector('#figures-hour path.curve')).stroke")
    assert lines != page.value("getComputedStyle(document.querySelector('.charts figure')).backgroundColor")
