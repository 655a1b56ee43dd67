"""What `ps` shows of a process."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux has titles")
SHOW = "print(open('/proc/self/cmdline', 'rb').read()); print(__import__('os').environ['LAST'])"
PROGRAM = f"""
from workers.platform.process_title import set_title
for title in {{titles}}:
    set_title(title)
{SHOW}
"""


def shown(*titles: str) -> tuple[bytes, str]:
    """The command line of a process that was given these titles, and a variable of its environment."""
    return shown_of(repr(titles))


def shown_of(titles: str) -> tuple[bytes, str]:
    """The same of titles that are written as an expression."""
    program = PROGRAM.format(titles=titles)
    done = subprocess.run(
        [sys.executable, "-c", program], env={"LAST": "whole"}, capture_output=True, text=True, check=True, timeout=60
    )
    line, last = done.stdout.splitlines()[:2]
    return eval(line), last


def test_a_title_takes_the_place_of_the_whole_command_line() -> None:
    line, last = shown("host house v3 (worker-1@here)")
    assert line.rstrip(b"\0") == b"queuecast: host house v3 (worker-1@here)"
    assert last == "whole"


def test_the_last_title_counts_and_leaves_nothing_of_a_longer_one() -> None:
    assert shown("host that loads a model with a long name", "host")[0].rstrip(b"\0") == b"queuecast: host"


def test_a_title_that_is_too_long_is_cut_and_the_environment_stays() -> None:
    line, last = shown_of("['x' * 100_000]")
    assert line.startswith(b"queuecast: xxx")
    assert len(line) < 1_000
    assert last == "whole"


def test_a_title_that_is_too_long_is_cut_between_words() -> None:
    assert shown_of("['web ' + 'x' * 100_000]")[0].rstrip(b"\0") == b"queuecast: web"


def test_a_title_can_not_steer_a_terminal() -> None:
    assert shown("a\x1b[2Jb\nc")[0].rstrip(b"\0") == b"queuecast: a [2Jb c"
