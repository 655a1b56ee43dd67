"""Texts that people read: short forms of values, and text of clients and models with its control characters escaped.

Clients choose paths, names and inputs; models choose the texts of their exceptions. All of these may contain line
feeds, escape sequences, and marks that change the direction of text: in logs and on terminals these could forge lines
or steer the terminal.
"""

from __future__ import annotations

import re
import reprlib

_LIMIT = 500
_LONG_BITS = 1_024
#: Of what stands in every message: enough to know an input again.
_TEXT_LIMIT_BYTES = 250
#: Control characters, Unicode's line separators, and marks that change the direction of text. Tabs are harmless.
_STEERING = "\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069"
_ANY = re.compile(f"[\n{_STEERING}]")
_ANY_BUT_LINE_FEEDS = re.compile(f"[{_STEERING}]")
_INDENT = "    "


class _Short(reprlib.Repr):
    """Python's own, which fails at integers of thousands of digits."""

    def __init__(self) -> None:
        super().__init__()
        self.maxlist = self.maxtuple = self.maxdict = 20
        self.maxstring = self.maxother = 100

    def repr_int(self, x: int, level: int) -> str:
        """Say of a long integer only how long it is."""
        if x.bit_length() > _LONG_BITS:
            return f"<int of {x.bit_length()} bits>"
        return super().repr_int(x, level)


_repr = _Short()


def short_repr(value: object) -> str:
    """Return a bounded text of a value."""
    return _repr.repr(value)[:_LIMIT]


def short_text(content: bytes) -> str:
    """Return the beginning of a JSON text, for what is known as such already: it costs next to nothing."""
    if len(content) <= _TEXT_LIMIT_BYTES:
        return content.decode()
    return content[:_TEXT_LIMIT_BYTES].decode(errors="ignore") + "…"


def one_line(text: str) -> str:
    r"""Return the text on one line, with control characters escaped, e.g. as `\x1b`."""
    return text if text.isprintable() else _ANY.sub(_escaped, text)


def lines(text: str) -> str:
    r"""Return the text with its lines unchanged, and with other control characters escaped, e.g. as `\x1b`."""
    return text if text.isprintable() else _ANY_BUT_LINE_FEEDS.sub(_escaped, text)


def indented(text: str) -> str:
    """Return the text of `lines`, with all lines after the first indented."""
    return lines(text).replace("\n", f"\n{_INDENT}")


def json_text(text: str) -> str:
    """Return JSON with the same meaning and no control characters."""
    return text if text.isprintable() else _ANY_BUT_LINE_FEEDS.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def _escaped(found: re.Match[str]) -> str:
    # As in Python and in JSON.
    number = ord(found[0])
    if number > 0xFF:
        return f"\\u{number:04x}"
    return {"\n": "\\n", "\r": "\\r"}.get(found[0], f"\\x{number:02x}")
