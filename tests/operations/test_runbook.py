"""docs/guides/operations.md: a section for each alert, and commands that there are."""

from __future__ import annotations

import re
import shlex

import click
import pytest

from api.cli.command import queuecast
from tests.observability.test_documents import rules
from tests.support.documentation import text_of

PAGE = text_of("operations.md")
ALERTS = [rule["alert"] for rule in rules()]
BLOCKS = re.findall(r"^ *```sh\n(.*?)```", PAGE, re.DOTALL | re.MULTILINE)
COMMANDS = sorted({
    match[1] for block in BLOCKS for match in re.finditer(r"(?m)^(?: |\w+=\S+)*queuecast ([^|#\n]+)", block)
})  # fmt: skip


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
    words, group = shlex.split(command), click.Context(queuecast)
    with group:
        found: click.Command = queuecast
        while isinstance(found, click.Group):
            found = found.get_command(group, words.pop(0)) or pytest.fail(f"there is no {command}")
        try:
            found.make_context(found.name, words, parent=group)
        except click.BadParameter as error:
            if "does not exist" not in str(error):  # a backup of the page's own
                raise
