"""Converts JSON rows to the tensors that a model declares: with its element types, its shapes and its batch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from registry.errors import InputUnsuitable, ModelLoadFailed
from registry.runtimes.inputs.arrays import array_of, shape_of
from registry.runtimes.protocol import Described
from registry.signatures.input_checks import Dtype, Shape
from registry.signatures.layout import InputLayout
from registry.signatures.number_types import Storage

Row = Any
#: The default storages of a signature.
_64_BITS = frozenset({Storage.INT64, Storage.FLOAT64})


@dataclass(frozen=True)
class Declared:
    """An input as the model declares it."""

    name: str
    #: Its dtype in numpy.
    dtype: str
    #: Its lengths with the batch; anything but a positive number is any length. Empty: of any rank.
    shape: Sequence[Any]


@dataclass(frozen=True)
class Input:
    """One input of the model, and its source in rows."""

    name: str
    dtype: str
    part: Part
    #: Whether its first dimension is the batch; otherwise it takes a single row.
    is_batched: bool
    #: The required size of its batch; None is any.
    batch_size: int | None
    #: Whether single values become a column, [n, 1].
    is_column: bool

    def array(self, rows: list[Row]) -> Any:
        """Return the array of rows, or of one row without a batch. Raises InputUnsuitable."""
        values, label = [self.part.of(row) for row in rows], f"the input {self.name!r}"
        if self.dtype == "object" and any(each is None for each in _flattened(values)):
            raise InputUnsuitable(f"{label} must be texts, not null: the model has no missing texts.")
        array = array_of(values, self.dtype, label, exact=self.part.is_exact)
        if not self.is_batched:
            return array[0]
        return array[:, None] if self.is_column else array


@dataclass(frozen=True)
class Part:
    """The part of a row that goes into one input."""

    of: Callable[[Row], Any]
    shape: Shape
    #: Whether it contains only integers, which floats must not round.
    is_exact: bool


class Feed:
    """The inputs of a model, built from rows."""

    def __init__(self, declared: Sequence[Declared], signature: InputLayout) -> None:
        """Take the model's inputs. Raises ModelLoadFailed if the signature doesn't match them."""
        parts = _parts({each.name: each.shape for each in declared}, signature)
        self._inputs = [_input(each, parts[each.name]) for each in declared]
        #: Whether outputs have one value for each row; otherwise they belong to a single row.
        self.is_batched = any(each.is_batched for each in self._inputs)
        self.rows_at_once = _rows_at_once(self._inputs)
        has_free_lengths = any(None in each.part.shape for each in self._inputs)
        #: The kind that rows of one batch must share; None: any rows.
        self.kind_of = self._shapes_of if has_free_lengths else None

    def arrays(self, rows: list[Row]) -> dict[str, Any]:
        """Return the inputs of rows of one kind. Raises InputUnsuitable if an element type can't contain a value."""
        return {each.name: each.array(rows) for each in self._inputs}

    def _shapes_of(self, row: Row) -> object:
        return tuple([shape_of(each.part.of(row)) for each in self._inputs])


def with_storages(declared: Sequence[Declared], signature: Described) -> Described:
    """Return the signature with the storages of the model's inputs, so that jobs are checked against their bounds.

    Integers of the example are integers if the model takes only integers.
    """
    document = signature.document()
    dtypes = {each.name: each.dtype for each in declared}
    only = next(iter(dtypes.values()))
    if signature.fields is None:
        return type(signature).parse(_with_storage(document, only))
    fields = document["fields"]
    document["fields"] = {name: _with_storage(place, dtypes.get(name, only)) for name, place in fields.items()}
    return type(signature).parse(document)


def _with_storage(place: dict[str, Any], dtype: str) -> dict[str, Any]:
    if dtype not in list(Storage) or "storage" in place:
        return place
    storage = Storage(dtype)
    is_float = place["dtype"] == Dtype.FLOAT
    if is_float and not storage.is_float and place.get("keeps_integers") is True:
        is_float = False
    if (
        is_float is not storage.is_float
        or place["dtype"] not in {Dtype.FLOAT, Dtype.INT}
        or (is_float and storage in _64_BITS)
    ):
        return place
    kept = {name: each for name, each in place.items() if name != "keeps_integers"}
    stored = {} if storage in _64_BITS else {"storage": storage}
    return {**kept, "dtype": Dtype.FLOAT if is_float else Dtype.INT, **stored}


def _parts(shapes: Mapping[str, Sequence[Any]], signature: InputLayout) -> dict[str, Part]:
    """Return the part for each input: its own field, or the whole row for a single input."""
    fields = signature.fields
    if fields is not None and set(shapes) == set(fields):
        return {name: Part(_field(name), each.shape, each.dtype is Dtype.INT) for name, each in fields.items()}
    if len(shapes) != 1:
        raise ModelLoadFailed(
            f"The model takes the inputs {', '.join(shapes)}: its signature must be of kind named, with these fields."
        )
    [(name, declared)] = shapes.items()
    if fields is None:
        return {name: Part(lambda row: row, signature.shape, signature.dtype is Dtype.INT)}
    first, *others = fields.values()
    is_exact = all(each.dtype is Dtype.INT for each in fields.values())
    if not others and len(declared) in {0, len(first.shape) + 1}:
        return {name: Part(_field(next(iter(fields))), first.shape, is_exact)}
    names = list(fields)
    return {name: Part(lambda row: [row.get(each) for each in names], (len(names), *first.shape), is_exact)}


def _field(name: str) -> Callable[[Row], Any]:
    return lambda row: row.get(name)


def _input(declared: Declared, part: Part) -> Input:
    dims = [each if isinstance(each, int) and each > 0 else None for each in declared.shape]
    wanted = part.shape
    # Neither single values nor inputs of any rank declare dimensions; libraries make no difference.
    is_column = wanted == () and len(dims) in {0, 2}
    if is_column:
        wanted = (1,)
    is_batched = not dims or len(dims) == len(wanted) + 1
    rest = dims[1:] if is_batched else dims
    fits = len(rest) == len(wanted) and all(None in pair or len(set(pair)) == 1 for pair in zip(rest, wanted))
    if dims and not fits:
        raise ModelLoadFailed(
            f"The model takes {declared.name!r} in the shape {_shape_text(declared.shape)}; an input of the signature "
            f"has there the shape {_shape_text(part.shape)}, without the batch."
        )
    batch_size = dims[0] if dims and is_batched else None
    return Input(declared.name, declared.dtype, part, is_batched, batch_size, is_column)


def _shape_text(shape: Sequence[Any]) -> str:
    return f"[{', '.join('any' if each is None else str(each) for each in shape)}]"


def _rows_at_once(inputs: Sequence[Input]) -> int | None:
    if not all(each.is_batched for each in inputs):
        return 1
    sizes = {each.batch_size for each in inputs if each.batch_size is not None}
    if len(sizes) > 1:
        raise ModelLoadFailed(f"The model takes batches of different lengths at once: {sorted(sizes)}.")
    return sizes.pop() if sizes else None


def _flattened(values: list[Any]) -> list[Any]:
    while any(isinstance(each, list) for each in values):
        values = [inner for each in values for inner in (each if isinstance(each, list) else [each])]
    return values
