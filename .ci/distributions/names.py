"""Rewrites the names of a clone's modules in Python source: `workers.tasks` becomes `queuecast.workers.tasks`.

Three things name modules: imports, texts, and the names of loggers. Everything else stays as it is, to the byte; so do
line numbers. What has to be the same in a clone and installed is marked by a comment:

    EARLIER = "workers.errors"  # a stored name
"""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Collection, Iterator
from typing import NamedTuple

#: The packages of a clone, and what has them inside of it where it is installed.
PACKAGES = ("api", "workers", "registry")
INSTALLED_IN = "queuecast"
#: The client is a distribution of its own, which the wheel requires (`build_client`).
_CLIENT, _CLIENT_INSTALLED = "api.client", "queuecast_client"
_STORED = "# a stored name"
#: A dotted name in a text, and not a part of a path or of a longer name.
_NAME = re.compile(rf"(?<![\w./-])(?:{'|'.join(PACKAGES)})(?:\.[A-Za-z_]\w*)+")
#: A package at the top, in the code of a program that a text holds.
_IMPORTED = re.compile(rf"(?<![\w.])from (?:{'|'.join(PACKAGES)})(?= import )")
#: Tokens that are text: of an f-string, from Python 3.12 on, the parts between its fields.
_TEXTS = {tokenize.STRING, getattr(tokenize, "FSTRING_MIDDLE", tokenize.STRING)}
_PREFIX = re.compile(r"[A-Za-z]*")


class _Edit(NamedTuple):
    start: tuple[int, int]
    end: tuple[int, int]
    text: str


def installed(name: str) -> str:
    """Return what a module of a clone is called where it is installed."""
    if name == _CLIENT or name.startswith(f"{_CLIENT}."):
        return _CLIENT_INSTALLED + name[len(_CLIENT) :]
    return f"{INSTALLED_IN}.{name}"


def rewritten(source: str, modules: Collection[str]) -> str:
    """Return the source of a module as it is installed.

    Args:
        source: as it is in the clone.
        modules: the dotted names of all modules of the clone; a text that begins with no such name is no module's.
    """
    tokens = list(tokenize.generate_tokens(io.StringIO(source).readline))
    stored = {token.start[0] for token in tokens if token.type == tokenize.COMMENT and _STORED in token.string}
    tree, lines = ast.parse(source), io.StringIO(source).readlines()
    edits = [*_imports(tree, lines, tokens), *_texts(tree, lines, tokens, modules)]
    return _applied(lines, [each for each in edits if each.start[0] not in stored])


def left_over(source: str) -> list[str]:
    """Return the imports of a source that name a package of the clone at the top."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names if _is_ours(alias.name)]
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and _is_ours(node.module or ""):
            found.append(node.module or "")
    return found


def _is_ours(name: str) -> bool:
    return name.partition(".")[0] in PACKAGES


def _imports(tree: ast.AST, lines: list[str], tokens: list[tokenize.TokenInfo]) -> Iterator[_Edit]:
    starts = {token.start: number for number, token in enumerate(tokens)}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.level == 0 and _is_ours(node.module or ""):
            module = str(node.module)
            line, column = tokens[starts[_position(lines, node.lineno, node.col_offset)] + 1].start
            yield _Edit((line, column), (line, column + len(module)), installed(module))
        elif isinstance(node, ast.Import) and any(_is_ours(alias.name) for alias in node.names):
            assert node.end_lineno is not None  # noqa: S101 - both are there after parsing
            assert node.end_col_offset is not None  # noqa: S101
            start = _position(lines, node.lineno, node.col_offset)
            end = _position(lines, node.end_lineno, node.end_col_offset)
            yield _Edit(start, end, "; ".join(map(_import_of, node.names)))


def _import_of(alias: ast.alias) -> str:
    """Return statements that bind what `import` with this alias binds."""
    name, as_name = alias.name, f" as {alias.asname}" if alias.asname else ""
    if not _is_ours(name):
        return f"import {name}{as_name}"
    if as_name or "." not in name or installed(name).startswith(_CLIENT_INSTALLED):
        package, _, last = installed(name).rpartition(".")
        return f"from {package} import {last}{as_name}" if package else f"import {last}{as_name}"
    return f"import {installed(name)}; from {INSTALLED_IN} import {name.partition('.')[0]}"


def _texts(
    tree: ast.AST, lines: list[str], tokens: list[tokenize.TokenInfo], modules: Collection[str]
) -> Iterator[_Edit]:
    loggers = set(_logger_names(tree, lines))

    def replace(match: re.Match[str]) -> str:
        return installed(match[0]) if ".".join(match[0].split(".")[:2]) in modules else match[0]

    def replaced(text: str) -> str:
        return _IMPORTED.sub(lambda match: f"from {installed(match[0][5:])}", _NAME.sub(replace, text))

    for token in tokens:
        if token.type not in _TEXTS:
            continue
        if token.start in loggers:
            text = re.sub(rf"^(\W)(?={'|'.join(PACKAGES)}\b)", rf"\1{INSTALLED_IN}.", token.string)
        elif token.type == tokenize.STRING and "f" in _PREFIX.match(token.string)[0].lower():  # type: ignore[index]
            parts = _parts(token.string)
            text = "".join(part if is_field else replaced(part) for part, is_field in parts)
        else:
            text = replaced(token.string)
        if text != token.string:
            yield _Edit(token.start, token.end, text)


def _logger_names(tree: ast.AST, lines: list[str]) -> Iterator[tuple[int, int]]:
    """Yield where the names of loggers are: they follow those of modules, also where there is no such module."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("getLogger"):
            for each in node.args:
                if isinstance(each, ast.Constant) and isinstance(each.value, str) and _is_ours(each.value):
                    yield _position(lines, each.lineno, each.col_offset)


def _parts(text: str) -> Iterator[tuple[str, bool]]:
    """Yield the parts of an f-string's token, each with whether it is a field: code, which has variables."""
    depth = begins = at = 0
    while at < len(text):
        if depth == 0 and text[at : at + 2] in ("{{", "}}"):
            at += 2
            continue
        if text[at] == "{":
            if depth == 0:
                yield text[begins:at], False
                begins = at
            depth += 1
        elif text[at] == "}" and depth:
            depth -= 1
            if depth == 0:
                yield text[begins : at + 1], True
                begins = at + 1
        at += 1
    yield text[begins:], False


def _position(lines: list[str], line: int, byte_offset: int) -> tuple[int, int]:
    """Return a position as tokens have it: the syntax tree counts bytes of UTF-8."""
    return line, len(lines[line - 1].encode()[:byte_offset].decode())


def _applied(lines: list[str], edits: list[_Edit]) -> str:
    for edit in sorted(edits, reverse=True):
        (first, begin), (last, end) = edit.start, edit.end
        tail = lines[last - 1][end:]
        lines[first - 1 : last] = [lines[first - 1][:begin] + edit.text + tail]
    return "".join(lines)
