"""The pages of `docs`, found by their names, and the examples in them."""

from __future__ import annotations

import re
from pathlib import Path

from tests.support.service.environment import REPOSITORY

DOCS = REPOSITORY / "docs"
README = REPOSITORY / "README.md"
_ID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def page(name: str) -> Path:
    """Return the one page of this name, whichever folder of `docs` it is in."""
    [found] = DOCS.rglob(name)
    return found


def text_of(name: str) -> str:
    """Return the text of the one page of this name."""
    return page(name).read_text(encoding="utf-8")


def pages() -> list[Path]:
    """Return every page of the documentation: the README, CONTRIBUTING.md and all of `docs`."""
    return [README, REPOSITORY / "CONTRIBUTING.md", *sorted(DOCS.rglob("*.md"))]


def documented_program(name: str) -> str:
    """Return the page's Python examples, one after the other."""
    return "\n\n".join(re.findall(r"```python\n(.*?)```", text_of(name), re.DOTALL))


def documented_file(name: str, file: str) -> str:
    """Return the one Python example of a page that begins with the name of its file."""
    [program] = re.findall(rf"```python\n(# {re.escape(file)}\n.*?)```", text_of(name), re.DOTALL)
    return str(program)


def documented_shell(name: str) -> list[str]:
    """Return the page's shell examples."""
    return re.findall(r"```sh\n(.*?)```", text_of(name), re.DOTALL)


def documented_output(name: str) -> list[re.Pattern[str]]:
    """Return what each line that the examples say they print has to match; an id is any id."""
    lines = re.findall(r"^# (.+)$", documented_program(name), re.MULTILINE)
    return [re.compile(_ID.pattern.join(map(re.escape, _ID.split(line)))) for line in lines]


def documented_commands(name: str, block: str) -> str:
    """Return the one block of shell commands of a page that begins with `# <block>`."""
    [found] = re.findall(rf"```sh\n# {re.escape(block)}\b(.*?)```", text_of(name), re.DOTALL)
    return str(found).partition("\n")[2]
