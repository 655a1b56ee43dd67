"""The examples in a page of `docs`."""

from __future__ import annotations

import re

from tests.support.environment import REPOSITORY

_ID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def documented_program(page: str) -> str:
    """Return the page's Python examples, one after the other."""
    text = (REPOSITORY / "docs" / page).read_text(encoding="utf-8")
    return "\n\n".join(re.findall(r"```python\n(.*?)```", text, re.DOTALL))


def documented_file(page: str, name: str) -> str:
    """Return the one Python example of a page that begins with the name of its file."""
    text = (REPOSITORY / "docs" / page).read_text(encoding="utf-8")
    [program] = re.findall(rf"```python\n(# {re.escape(name)}\n.*?)```", text, re.DOTALL)
    return str(program)


def documented_shell(page: str) -> list[str]:
    """Return the page's shell examples."""
    text = (REPOSITORY / "docs" / page).read_text(encoding="utf-8")
    return re.findall(r"```sh\n(.*?)```", text, re.DOTALL)


def documented_output(page: str) -> list[re.Pattern[str]]:
    """Return what each line that the examples say they print has to match; an id is any id."""
    lines = re.findall(r"^# (.+)$", documented_program(page), re.MULTILINE)
    return [re.compile(_ID.pattern.join(map(re.escape, _ID.split(line)))) for line in lines]


def documented_commands(page: str, name: str) -> str:
    """Return the one block of shell commands of a page that begins with `# <name>`."""
    text = (REPOSITORY / "docs" / page).read_text(encoding="utf-8")
    [block] = re.findall(rf"```sh\n# {re.escape(name)}\b(.*?)```", text, re.DOTALL)
    return str(block).partition("\n")[2]
