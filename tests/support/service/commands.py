"""The commands of the documentation, held against those of the command line."""

from __future__ import annotations

import re
import shlex

import click
import pytest

from api.cli.command import queuecast

_COMMAND = re.compile(r"(?m)^(?: |\w+=\S+)*queuecast ([^|#\n]+)")


def commands_in(text: str) -> set[str]:
    """Return each command of a text whose lines are commands, without the word `queuecast`."""
    return {match[1].strip() for match in _COMMAND.finditer(text)}


def parse(command: str) -> None:
    """Fail the test unless there is this command with these arguments and options; files needn't exist."""
    words, group = shlex.split(command), click.Context(queuecast)
    with group:
        found: click.Command = queuecast
        while isinstance(found, click.Group):
            found = found.get_command(group, words.pop(0)) or pytest.fail(f"there is no {command}")
        try:
            found.make_context(found.name, words, parent=group)
        except click.exceptions.Exit:  # of --help
            pass
        except click.BadParameter as error:
            if not re.search(r"does not exist|No such file", str(error)):  # a file of the page's own
                raise
