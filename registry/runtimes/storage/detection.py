"""Finds the runtime of an artifact from its bytes: of a pickle, from the names in it. Runs none of its code."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import pickletools
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import IO, Any

from registry.errors import RuntimeUndetected
from registry.runtimes.storage import formats

#: The names that decide stand at the beginning.
_BYTES_READ = 1024 * 1024
#: Libraries whose estimators are called as scikit-learn's are.
_ESTIMATORS = ("sklearn.", "lightgbm.sklearn.", "xgboost.sklearn.", "imblearn.")
_BASE_ESTIMATOR = "sklearn.base.BaseEstimator"
#: Names that a pickle has for its own mechanics.
_MECHANICS = ("copyreg.", "copy_reg.", "builtins.", "__builtin__.", "types.", "abc.")
_FUNCTIONS = {"cloudpickle.cloudpickle._make_function", "cloudpickle.cloudpickle_fast._make_function"}
_CLOUDPICKLE = "cloudpickle."
_TEXTS = {"SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8", "UNICODE", "SHORT_BINSTRING", "BINSTRING", "STRING"}
_CONTAINERS = {"EMPTY_DICT", "EMPTY_LIST", "EMPTY_TUPLE", "EMPTY_SET", "DICT", "LIST", "TUPLE"}
#: The first field of an ONNX model is its format's version, a small number; another field follows.
_ONNX_FIRST, _ONNX_SECOND = 0x08, b"\x12\x1a\x22\x28\x32\x3a\x42\x72"
_LARGEST_ONNX_VERSION = 31
_FORMATS = (
    (formats.XGBOOST, "xgboost", "a model in XGBoost's own format"),
    (formats.CATBOOST, "catboost", "a model in CatBoost's own format"),
    (formats.LIGHTGBM, "lightgbm", "a model in LightGBM's text format"),
)


@dataclass(frozen=True)
class Detected:
    """A runtime, and why it is that one."""

    runtime: str
    reason: str


def detect(artifact: IO[bytes]) -> Detected:
    """Return the runtime of an artifact; leaves the file at its beginning.

    Raises:
        RuntimeUndetected: it could be of several, or of none.
    """
    artifact.seek(0)
    beginning = artifact.read(_BYTES_READ)
    try:
        found = _of_archive(artifact) if zipfile.is_zipfile(artifact) else _of_bytes(beginning)
    finally:
        artifact.seek(0)
    return found


def _of_archive(artifact: IO[bytes]) -> Detected:
    try:
        with zipfile.ZipFile(artifact) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, ValueError, NotImplementedError) as error:
        raise RuntimeUndetected("The file ends as an archive, but its table of contents can't be read.") from error
    if "schema.json" in names:
        return Detected("skops", "the file is an archive of skops")
    if (kind := formats.program_of_torch(names)) is not None:
        return Detected("torch", f"the file is a program of PyTorch ({kind})")
    if any(each.rpartition("/")[2] == "MLmodel" for each in names):
        raise RuntimeUndetected("The file is an archive of an MLflow folder, which is imported.")
    raise RuntimeUndetected("The file is an archive.")


def _of_bytes(beginning: bytes) -> Detected:
    first, version, second = (*beginning[:3], 0, 0, 0)[:3]
    if first == _ONNX_FIRST and 0 < version <= _LARGEST_ONNX_VERSION and second in _ONNX_SECOND:
        return Detected("onnx", "the file is an ONNX model")
    for pattern, runtime, what in _FORMATS:
        if pattern.match(beginning):
            return Detected(runtime, f"the file is {what}")
    names = _names_in(_uncompressed(beginning))
    return _of_names(names)


def _of_names(names: _Names) -> Detected:
    if names.root is None:
        what = "a pickle of plain data" if names.is_container else "no pickle and no model in a known format"
        raise RuntimeUndetected(f"The file is {what}.")
    if f"{names.root}.".startswith(_ESTIMATORS):
        return Detected("sklearn", f"the file is a pickle of {names.root}")
    if names.root in _FUNCTIONS:
        return Detected("python", "the file is a pickle of a function")
    if names.root.startswith(_CLOUDPICKLE) and _BASE_ESTIMATOR in names.all:
        return Detected("sklearn", f"the file is a pickle of a class that extends {_BASE_ESTIMATOR}")
    what = "a class that it has with it" if names.root.startswith(_CLOUDPICKLE) else names.root
    raise RuntimeUndetected(f"The file is a pickle of {what}, which may be an estimator or any object.")


def _uncompressed(beginning: bytes) -> bytes:
    """Return the beginning of what joblib has compressed, or the bytes themselves."""
    openers: tuple[tuple[bytes, Any], ...] = (
        (b"\x1f\x8b", gzip.open), (b"BZh", bz2.open), (b"\xfd7zXZ", lzma.open), (b"\x5d\x00", lzma.open),
    )  # fmt: skip
    for magic, opened in openers:
        if beginning.startswith(magic):
            return _read(opened(io.BytesIO(beginning)))
    if beginning[:1] == b"\x78":
        try:
            return zlib.decompressobj().decompress(beginning, _BYTES_READ)
        except zlib.error:
            return beginning
    return beginning


def _read(file: IO[bytes]) -> bytes:
    """Return the beginning of a file that may be cut off."""
    found = b""
    try:
        while len(found) < _BYTES_READ and (more := file.read1(65_536)):  # type: ignore[attr-defined]
            found += more
    except (OSError, EOFError, zlib.error, lzma.LZMAError):
        pass
    return found


@dataclass
class _Names:
    """The names of classes and functions in a pickle."""

    #: What it is a pickle of.
    root: str | None = None
    is_container: bool = False
    all: set[str] = field(default_factory=set)


def _names_in(content: bytes) -> _Names:
    found = _Names()
    for name in _globals_of(content, found):
        found.all.add(name)
        if found.root is None and not found.is_container and not name.startswith(_MECHANICS):
            found.root = name
    return found


def _globals_of(content: bytes, found: _Names) -> Iterator[str]:
    """Yield the names, until the pickle ends, is cut off, or goes on as an array of joblib."""
    texts = _Texts()
    has_begun = False
    try:
        for opcode, argument, _ in pickletools.genops(content):
            if opcode.name in {"PROTO", "FRAME", "MARK"}:
                continue
            if not has_begun and opcode.name in _CONTAINERS:
                found.is_container = True
            has_begun = has_begun or opcode.name not in _TEXTS | {"MEMOIZE"}
            name = texts.name_in(opcode.name, argument)
            if name is not None:
                yield name
    except Exception:  # noqa: BLE001 - what can't be read on has no more names
        return


class _Texts:
    """The texts of a pickle, of which the last two may be the name of a class."""

    def __init__(self) -> None:
        self._texts: list[Any] = []
        self._memo: list[Any] = []
        self._last: Any = None

    def name_in(self, opcode: str, argument: Any) -> str | None:
        """Take an instruction; return the name that it loads, if it loads one."""
        if opcode == "MEMOIZE":
            self._memo.append(self._last)
            return None
        self._last = None
        if opcode in _TEXTS:
            self._last = argument
        elif opcode in {"BINGET", "LONG_BINGET"}:
            self._last = self._memo[argument] if argument < len(self._memo) else None
        elif opcode == "GLOBAL":
            return str(argument).replace(" ", ".", 1)
        elif opcode == "STACK_GLOBAL":
            return ".".join(map(str, self._texts[-2:]))
        if self._last is not None:
            self._texts = [*self._texts[-1:], self._last]
        return None
