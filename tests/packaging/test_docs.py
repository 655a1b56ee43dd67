"""What errors, logs and help say of the documentation is true in a clone and of an installed package."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from api.cli.local import docs
from tests.packaging.conftest import Installed
from tests.support.service.environment import REPOSITORY, clean_environment

#: A page as texts name it: a command that shows it, or its path in the repository.
_NAMED = re.compile(r"queuecast docs ([a-z][\w./#-]*\w)|\b(docs/[\w./#-]*\w)")
_ROOMS = ("api", "workers", "registry", "queuecast")


def named_pages() -> dict[str, set[str]]:
    """Return the pages that sources name, each with the sources."""
    found: dict[str, set[str]] = {}
    for path in [each for room in _ROOMS for each in (REPOSITORY / room).rglob("*") if each.suffix in (".py", ".html")]:
        for match in _NAMED.finditer(path.read_text(encoding="utf-8")):
            found.setdefault(match[1] or match[2], set()).add(path.relative_to(REPOSITORY).as_posix())
    return found


def test_every_page_that_a_text_names_is_there() -> None:
    found = named_pages()
    assert {"webhooks", "celery#in-tests", "redis-failover", "operations", "settings"} <= set(found)
    for name in found:
        docs.find(name)


@pytest.mark.slow
def test_an_installed_package_has_every_page_that_a_text_names(installed: Installed) -> None:
    folder = installed.packages / "queuecast" / "docs"
    for name in named_pages():
        assert docs.find(name, folder).path.is_relative_to(folder)
    left_out = {"images", "performance.json", "soak.json"}
    expected = {path.relative_to(docs.FOLDER) for path in docs.FOLDER.rglob("*") if path.is_file()}
    there = {path.relative_to(folder) for path in folder.rglob("*") if path.is_file()}
    assert there == {path for path in expected if path.parts[0] not in left_out}


@pytest.mark.slow
def test_an_installed_command_shows_pages(installed: Installed, tmp_path: Path) -> None:
    listed = installed.run("-m", "queuecast", "docs", cwd=tmp_path)
    assert "receive a signed request when a job ends" in listed
    shown = installed.run("-m", "queuecast", "docs", "celery#in-tests", cwd=tmp_path)
    assert shown.startswith("## In tests\n")
    assert "put a stub" in shown
    place = installed.run("-m", "queuecast", "docs", "--path", "redis-users.acl", cwd=tmp_path).strip()
    assert Path(place) == installed.packages / "queuecast" / "docs" / "redis-users.acl"


def test_every_page_of_the_list_has_a_name_of_its_own() -> None:
    names = [path.stem for path in docs.FOLDER.rglob("*.md") if path != docs.FOLDER / "README.md"]
    assert len(names) == len(set(names))
    for name in names:
        assert docs.find(name).path.stem == name


@pytest.mark.parametrize("name", ["webhooks", "guides/webhooks.md", "docs/guides/webhooks.md", "./guides/webhooks"])
def test_a_page_is_found_by_its_name_and_by_its_path(name: str) -> None:
    assert docs.find(name).path == REPOSITORY / "docs" / "guides" / "webhooks.md"


def test_a_section_ends_where_the_next_one_begins() -> None:
    text = docs.find("install#in-your-own-programs").text
    assert text.startswith("## In your own programs\n")
    assert "from queuecast import Client" in text  # after a comment that begins like a heading
    assert "## One package" not in text


def test_a_page_that_there_is_not_is_refused_with_the_nearest_one() -> None:
    with pytest.raises(docs.PageNotFound, match="Is it webhooks"):
        docs.find("webhook")
    for outside in ("../README.md", "/etc/passwd", "docs/../pyproject.toml"):
        with pytest.raises(docs.PageNotFound):
            docs.find(outside)
    with pytest.raises(docs.PageNotFound, match=r"there are .*one-package"):
        docs.find("install#nothing")


def test_the_command_says_what_it_did_not_find() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "queuecast", "docs", "webhook"],
        env=clean_environment(), cwd=REPOSITORY, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert "Is it webhooks? `queuecast docs` lists all pages." in done.stderr
