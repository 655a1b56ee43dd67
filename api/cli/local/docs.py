"""`queuecast docs`: the pages that errors and help name; an installed package has them with it."""

from __future__ import annotations

import difflib
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import click

from api.cli.errors import CliError
from api.cli.output import Output

#: Beside the packages in a clone, and inside of the one package where it is installed.
FOLDER = Path(__file__).parents[3] / "docs"
_INDEX = "README.md"
#: A row of the index: `| [Webhooks](guides/webhooks.md) | receive a signed request … |`.
_ROW = re.compile(r"\| \[[^]]+\]\(([^)]+)\) \| (.+) \|")
_HEADING = re.compile(r"(#+) (.+)")
_FENCE = "```"


class PageNotFound(CliError):
    """The documentation has no such page, or the page has no such section."""

    code = "page_not_found"


class Page(NamedTuple):
    """A page, or a part of it, such as what errors name."""

    path: Path
    text: str


@click.command()
@click.argument("page", required=False)
@click.option("--path", "as_path", is_flag=True, help="Print where the page's file is.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document, for programs.")
def docs(page: str | None, *, as_path: bool, as_json: bool) -> None:
    """Show PAGE of the documentation of this very release, or list the pages.

    PAGE is a name from the list, or as errors, help and links have it.

    \b
      queuecast docs
      queuecast docs webhooks
      queuecast docs celery#in-tests
      queuecast docs alerts.yml > alerts.yml
    """
    output = Output(as_json=as_json)
    try:
        if page is None:
            _show_list(output)
        else:
            _show(find(page), output, as_path=as_path)
    except CliError as error:
        output.error(error)
        sys.exit(error.exit_code)


def find(name: str, folder: Path = FOLDER) -> Page:
    """Return a page by its name, such as `webhooks`, or by its path in the repository, each with a `#section` or not.

    Raises:
        PageNotFound: there is none; the message says which may be meant.
    """
    asked, _, section = name.partition("#")
    wanted = asked.removeprefix("./").removeprefix("docs/")
    paths = {path.relative_to(folder).as_posix(): path for path in _files(folder)}
    found = paths.get(wanted) or paths.get(f"{wanted}.md") or _by_last_name(wanted, paths)
    if found is None:
        near = difflib.get_close_matches(wanted, [path.stem for path in paths.values()], n=1)
        hint = f"Is it {near[0]}? " if near else ""
        raise PageNotFound(f"There is no page {asked!r}. {hint}`queuecast docs` lists all pages.")
    text = found.read_text(encoding="utf-8")
    return Page(found, _section(text, section, found.stem) if section else text)


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in sorted(folder.rglob("*")) if path.is_file() and path.suffix != ".png")


def _by_last_name(wanted: str, paths: dict[str, Path]) -> Path | None:
    named = [path for path in paths.values() if path.suffix == ".md" and path.stem == wanted]
    return named[0] if named else None


def _section(text: str, wanted: str, page: str) -> str:
    """Return the section that a link to `#wanted` leads to, with the sections inside of it."""
    headings = list(_headings(text))
    for number, (line, level, title) in enumerate(headings):
        if _anchor(title) == wanted:
            ends = [at for at, other, _ in headings[number + 1 :] if other <= level]
            return "".join(text.splitlines(keepends=True)[line : ends[0] if ends else None])
    there = ", ".join(_anchor(title) for _, level, title in headings if level > 1)
    raise PageNotFound(f"The page {page} has no section {wanted!r}; there are {there or 'none'}.")


def _headings(text: str) -> Iterator[tuple[int, int, str]]:
    """Yield the line, level and title of each heading: comments in blocks of commands begin like headings."""
    is_code = False
    for number, line in enumerate(text.splitlines()):
        if line.lstrip().startswith(_FENCE):
            is_code = not is_code
        elif not is_code and (heading := _HEADING.fullmatch(line)):
            yield number, len(heading[1]), heading[2]


def _anchor(title: str) -> str:
    """Return what links call a heading."""
    return re.sub(r"[^\w\- ]", "", title.strip().lower()).replace(" ", "-")


def _show(page: Page, output: Output, *, as_path: bool) -> None:
    if output.as_json:
        output.document({"path": str(page.path), "text": page.text})
    elif as_path:
        output.line(str(page.path))
    elif sys.stdout.isatty():
        click.echo_via_pager(page.text)
    else:
        click.echo(page.text, nl=False)


def _show_list(output: Output) -> None:
    rows = [(_short(path), about.replace("`", "")) for path, about in _ROW.findall(find(_INDEX).text) if _is_here(path)]
    if output.as_json:
        output.document([{"page": name, "about": about} for name, about in rows])
        return
    output.table(["PAGE", "ABOUT"], rows, "There is no page.")
    others = sorted(path.name for path in _files(FOLDER) if path.parent == FOLDER and path.suffix != ".md")
    output.note(f"`queuecast docs PAGE` shows one. Files beside them: {', '.join(others)}.")


def _short(path: str) -> str:
    return Path(path).stem


def _is_here(path: str) -> bool:
    return (FOLDER / path).is_file() and not path.startswith("..")
