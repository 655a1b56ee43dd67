"""The dashboard and the alert rules: whole, and written in the language that Prometheus reads."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from tests.support.service.environment import REPOSITORY

DASHBOARD: dict[str, Any] = json.loads((REPOSITORY / "docs/grafana-dashboard.json").read_text(encoding="utf-8"))
ALERTS: dict[str, Any] = yaml.safe_load((REPOSITORY / "docs/alerts.yml").read_text(encoding="utf-8"))


def rules() -> Iterator[dict[str, Any]]:
    for group in ALERTS["groups"]:
        yield from group["rules"]


def expressions() -> Iterator[str]:
    for panel in DASHBOARD["panels"]:
        for target in panel["targets"]:
            # What Grafana puts in, as it would be.
            yield target["expr"].replace("$__rate_interval", "1m").replace("$endpoint", "adding|other")
    for rule in rules():
        yield rule["expr"]


@pytest.mark.parametrize("expression", list(expressions()))
def test_every_expression_is_promql(expression: str) -> None:
    pytest.importorskip("promql_parser").parse(expression)
    assert "$" not in expression


def test_every_rule_says_what_has_happened_and_what_to_do() -> None:
    names = [rule["alert"] for rule in rules()]
    assert len(names) == len(set(names)) >= 8
    for rule in rules():
        assert rule["labels"]["severity"] in ("warning", "critical")
        assert set(rule["annotations"]) == {"summary", "description", "runbook"}
        assert re.fullmatch(r"\d+[smh]", rule.get("for", "0s"))


def test_the_dashboard_works_with_any_data_source_and_its_panels_do_not_overlap() -> None:
    variables = {each["name"]: each["type"] for each in DASHBOARD["templating"]["list"]}
    assert variables == {"datasource": "datasource", "endpoint": "query"}
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        assert panel["datasource"]["uid"] == "${datasource}"
        assert panel["title"]
        assert panel["description"]
        place = panel["gridPos"]
        cells = {(x, place["y"]) for x in range(place["x"], place["x"] + place["w"])}
        assert not cells & taken
        assert max(x for x, _ in cells) < 24
        taken |= cells
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])
