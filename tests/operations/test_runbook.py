"""docs/guides/operations.md: a section for each alert, and commands that there are."""

from __future__ import annotations

import re

import pytest

from tests.observability.test_documents import rules
from tests.support.documentation import text_of
from tests.support.service import commands

PAGE = text_of("operations.md")
ALERTS = [rule["alert"] for rule in rules()]
BLOCKS = re.findall(r"^ *```sh\n(.*?)```", PAGE, re.DOTALL | re.MULTILINE)
COMMANDS = sorted(set().union(*map(commands.commands_in, BLOCKS)))


def section(name: str) -> str:
    found = re.search(rf"^### {name}\n(.*?)(?=^##)", PAGE, re.DOTALL | re.MULTILINE)
    assert found, name
    return found[1]


def test_each_alert_has_its_section_and_each_section_its_alert() -> None:
    runbook = PAGE.partition("## When an alert fires")[2].partition("## Incidents")[0]
    assert re.findall(r"^### (.*)$", runbook, re.MULTILINE) == ALERTS
    assert {rule["alert"]: rule["annotations"]["runbook"] for rule in rules()} == {
        name: f"guides/operations.md#{name.lower()}" for name in ALERTS
    }


@pytest.mark.parametrize("name", ALERTS)
def test_a_section_says_what_it_means_and_how_to_look(name: str) -> None:
    text = section(name)
    assert text.strip().startswith("*"), "what it means comes first"
    assert "```sh" in text or "](#" in text


@pytest.mark.parametrize("command", COMMANDS)
def test_every_queuecast_command_of_the_page_is_one(command: str) -> None:
    commands.parse(command)
