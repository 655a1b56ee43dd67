"""Reads JSON, and many JSON documents, from bytes: the same rules for HTTP bodies and for files of commands.

A line ends with a line feed, perhaps after a carriage return, and with nothing else: U+2028 and the like may be inside
a string. A byte order mark of UTF-8 is skipped. Must not know HTTP, models or jobs.
"""

from __future__ import annotations

import codecs
import json
import math
from collections.abc import Iterator
from typing import Any, NoReturn

import msgspec

from api.errors import JsonInvalid

#: Deeper JSON is refused: everything that reads it later may recurse.
MAX_JSON_DEPTH = 64
#: What may stand around a document.
WHITESPACE = b" \t\r\n"
_NO_BRACKETS_OR_QUOTES = bytes(set(range(256)) - set(b'[]{}"'))
_WIDE_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE, codecs.BOM_UTF32_BE)


def without_mark(content: bytes) -> bytes:
    """Return the content without the byte order mark that some programs put before UTF-8."""
    return content.removeprefix(codecs.BOM_UTF8)


def json_lines(content: bytes, what: str = "The body") -> Iterator[tuple[int, Any]]:
    """Parse one document a line; yield each with the number of its line, which begins with 1. Blank lines are skipped.

    Raises:
        JsonInvalid: a line is no JSON; tells which.
    """
    # In wider encodings the byte of a line feed needn't be one.
    for number, line in enumerate(_narrow(content, what).split(b"\n"), 1):
        if line.strip(WHITESPACE):
            try:
                yield number, json_text(line, what)
            except JsonInvalid as error:
                raise JsonInvalid(f"Line {number}: {error}", {"line": number}) from error


def json_text(text: bytes | str, what: str = "The body") -> Any:
    """Parse strict JSON; `what` is the name that an error has for it.

    Raises:
        JsonInvalid: not UTF-8, no JSON, NaN or Infinity, a number too large, or nested too deeply.
    """
    content = text.encode(errors="surrogatepass") if isinstance(text, str) else text
    document = _decoded(content, what)
    # As deep as all its brackets at the most: usually there is nothing to look for.
    if content.count(b"[") + content.count(b"{") > MAX_JSON_DEPTH and not _is_shallow(content):
        _check_depth(document)
    return document


def _decoded(content: bytes, what: str) -> Any:
    """Parse with the fast parser; what it refuses is parsed again, for the reason, or because it is JSON after all."""
    try:
        return _decoder.decode(content)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        pass
    content = _narrow(content, what)
    try:
        return _careful_decoder.decode(content.decode())
    except UnicodeDecodeError as error:
        where = f"byte {error.start + 1} is 0x{content[error.start]:02x}"
        raise JsonInvalid(f"{what} is not UTF-8 ({where}); JSON is text in UTF-8.") from error
    except RecursionError as error:
        raise JsonInvalid(f"The JSON is nested more than {MAX_JSON_DEPTH} levels deep.") from error
    except ValueError as error:
        why = f"{what} is not JSON: {error}." if content.strip() else f"{what} is empty; JSON is needed."
        raise JsonInvalid(why) from error


def _narrow(content: bytes, what: str) -> bytes:
    """Return content without UTF-8's mark. Raises JsonInvalid where each character takes several bytes."""
    if content.startswith(_WIDE_MARKS) or b"\0" in content[:4]:
        raise JsonInvalid(f"{what} is not UTF-8: it looks like UTF-16, UTF-32 or a binary file. Save it as UTF-8.")
    return without_mark(content)


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON number")


def _finite(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise ValueError(f"{text[:40]} is too large for a number")
    return number


# One of each for the whole process: one for each body would be slow, and leave a little memory behind.
_decoder = msgspec.json.Decoder()
_careful_decoder = json.JSONDecoder(parse_constant=_refuse_constant, parse_float=_finite)


def _is_shallow(content: bytes) -> bool:
    """Whether JSON is certainly no deeper than allowed. Unknown if texts have brackets or backslashes."""
    if b"\\" in content:
        return False
    # What is left of texts without brackets is their quotes. Those of any other text can't all be removed.
    brackets = content.translate(None, _NO_BRACKETS_OR_QUOTES).replace(b'""', b"")
    if b'"' in brackets:
        return False
    for _ in range(MAX_JSON_DEPTH):
        if not brackets:
            return True
        # The innermost ones of all that are left.
        brackets = brackets.replace(b"[]", b"").replace(b"{}", b"")
    return not brackets


def _check_depth(document: Any) -> None:
    level = [document] if isinstance(document, (list, dict)) else []
    for _ in range(MAX_JSON_DEPTH):
        if not level:
            return
        level = [
            child
            for parent in level
            for child in (parent.values() if isinstance(parent, dict) else parent)
            if isinstance(child, (list, dict))
        ]
    if level:
        raise JsonInvalid(f"The JSON is nested more than {MAX_JSON_DEPTH} levels deep.")
