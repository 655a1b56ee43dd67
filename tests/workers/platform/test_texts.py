"""Text of others in logs and on terminals: it stays text."""

from __future__ import annotations

import json

import pytest

from workers.platform import texts

ESCAPES = "\x1b[2J \x9b31m \x07 \r \x7f \u202e \u2028 \x85"


@pytest.mark.parametrize("show", [texts.one_line, texts.lines, texts.indented, texts.json_text])
def test_nothing_steers_a_terminal_or_ends_a_line(show: object) -> None:
    assert callable(show)
    shown = show(ESCAPES)
    assert shown.isprintable()
    assert shown.splitlines() == [shown]


def test_what_is_shown_says_what_there_was() -> None:
    assert texts.one_line("a\nb\x1b[m\u2028é 日本\tc") == r"a\nb\x1b[m\u2028é 日本" + "\tc"
    assert texts.lines("a\n\x1bb") == "a\n\\x1bb"
    assert texts.indented("a\nb") == "a\n    b"


def test_json_means_the_same() -> None:
    document = {"text": ESCAPES, "more": ["é"]}
    shown = texts.json_text(json.dumps(document, ensure_ascii=False, indent=2))
    assert json.loads(shown) == document
    assert all(line.isprintable() for line in shown.split("\n"))
