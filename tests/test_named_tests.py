"""The tests that the documents name as showing something: each is there."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from tests.support.documentation import text_of
from tests.support.service.environment import REPOSITORY

DOCUMENTS = ("security.md", "reliability.md")
#: Where a file is that is named without its folder.
FOLDERS = ("", "tests", "tests/faults")


def named(document: str) -> Iterator[tuple[str, str]]:
    """Yield each file of tests that a document names, with the test ("" for all of it; "…" stands for any letters).

    A test without a file is in the one named before it.
    """
    path = ""
    for span in re.findall(r"`([^`\n]+)`", text_of(document)):
        if found := re.fullmatch(r"((?:[\w/]+/)?test_\w+\.py|tests/[\w/]+\.py)(?:::([\w…]+))?", span):
            path = found[1]
            yield path, found[2] or ""
        elif re.fullmatch(r"(?:::)?(?:…|test_)[\w…]+", span):
            yield path, span.removeprefix("::")


def file_of(path: str) -> Path:
    """Return the file that a document means. Raises AssertionError if there is none."""
    found = [REPOSITORY / folder / path for folder in FOLDERS if (REPOSITORY / folder / path).is_file()]
    assert found, f"there is no {path}"
    return found[0]


@cache
def names_in(file: Path) -> list[str]:
    """Return the names of the tests in a file."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    return [node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")]


@pytest.mark.parametrize("document", DOCUMENTS)
def test_each_test_that_a_document_names_is_there(document: str) -> None:
    missing = []
    for path, name in named(document):
        tests = names_in(file_of(path))
        pattern = ".*".join(map(re.escape, name.split("…")))
        if name and not any(re.fullmatch(pattern, each) for each in tests):
            missing.append(f"{path}::{name}")
    assert missing == []


def test_each_row_of_the_threat_model_names_a_test() -> None:
    text = text_of("security.md")
    table = text.partition("## Threat model")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (?!-|who ).*$", table, re.MULTILINE)
    rows = [row for row in rows if not row.startswith("|---")]
    assert len(rows) > 20
    assert [row for row in rows if ".py" not in row.split(" | ")[-1]] == []
