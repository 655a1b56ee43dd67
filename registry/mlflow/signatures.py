"""Converts MLflow's signatures and input examples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from registry.errors import InputInvalid, MlflowFolderInvalid, RegistryError
from registry.mlflow.folder import MlflowFolder
from registry.signatures.input_checks import Dtype
from registry.signatures.number_types import Storage
from registry.signatures.signature import Signature

_DTYPES: Mapping[str, Dtype] = {
    "boolean": Dtype.BOOL,
    "integer": Dtype.INT,
    "long": Dtype.INT,
    "float": Dtype.FLOAT,
    "double": Dtype.FLOAT,
    "string": Dtype.STR,
}
#: Types that are text in JSON, which MLflow itself converts.
_AS_TEXT: Mapping[str, str] = {"datetime": "ISO 8601 text", "binary": "base64"}
#: The types that are narrower than the default of 64 bits.
_STORAGES: Mapping[str, Storage] = {"integer": Storage.INT32, "float": Storage.FLOAT32}
_64_BITS = frozenset({Storage.INT64, Storage.FLOAT64})
_TENSOR_DTYPES = (("bool", Dtype.BOOL), ("int", Dtype.INT), ("uint", Dtype.INT), ("float", Dtype.FLOAT))
_GIVE_ONE = "Give a signature (--signature, or `signature` over HTTP) or an input example (--input-example)."
Spec = Mapping[str, Any]
Place = dict[str, Any]


def described(folder: MlflowFolder, *, by_mlflow: bool, warnings: list[str]) -> tuple[Signature, Any]:
    """Return the signature and the input example (None without one); add what can't be converted to `warnings`.

    `by_mlflow`: MLflow calls the model, and converts text to dates and bytes.

    Raises:
        MlflowFolderInvalid: there is neither, or the signature has unsupported types.
    """
    inputs, params = folder.saved_signature()
    example = example_row(*folder.saved_example())
    if params:
        names = ", ".join(str(each.get("name")) for each in params)
        set_by = (
            "what the runtime option `params` sets"
            if by_mlflow
            else "(with the flavor python_function) what `params` sets"
        )
        warnings.append(f"The params {names} are not part of an input. All jobs have their defaults, or {set_by}.")
    if inputs is not None:
        signature = signature_of(inputs, by_mlflow=by_mlflow, warnings=warnings)
    elif example is None:
        raise MlflowFolderInvalid(f"It has neither a signature nor an input example. {_GIVE_ONE}")
    else:
        warnings.append("It has no signature: the signature was derived from its input example.")
        signature = _signature_of_example(example)
    return signature, _fitting(example, signature, warnings)


def signature_of(inputs: Sequence[Spec], *, by_mlflow: bool, warnings: list[str]) -> Signature:
    """Return the signature of one input row for MLflow's inputs. Raises MlflowFolderInvalid."""
    try:
        places = [(each.get("name"), _field(each, warnings, by_mlflow=by_mlflow)) for each in inputs]
    except (AttributeError, KeyError, TypeError) as error:
        raise MlflowFolderInvalid(f"The signature in its MLmodel can't be read. {_GIVE_ONE}") from error
    return Signature.parse(_document(places))


def example_row(kind: str | None, content: Any) -> Any:
    """Return the first row of MLflow's input example as an input; None if the example has no rows."""
    if kind == "dataframe" and isinstance(content, dict):
        row, columns = _first(content.get("data")), content.get("columns")
        if isinstance(row, list) and columns and all(isinstance(each, str) for each in columns):
            return dict(zip(columns, row, strict=False))
        return row[0] if isinstance(row, list) and len(row) == 1 else row
    if kind == "ndarray" and isinstance(content, dict):
        content = content.get("inputs", content)
    if kind == "ndarray" and isinstance(content, dict):
        return {name: _first(each) for name, each in content.items()}
    return _first(content)


def _first(values: Any) -> Any:
    return values[0] if isinstance(values, list) and values else None


def _document(places: Sequence[tuple[str | None, Place]]) -> Place:
    if all(name is not None for name, _ in places):
        return {"kind": "named", "fields": dict(places)}
    if len(places) == 1:
        [(_, place)] = places
        return _with_kind({name: each for name, each in place.items() if name != "required"})
    dtypes = {place["dtype"] for _, place in places}
    if dtypes == {Dtype.INT, Dtype.FLOAT}:
        dtypes = {Dtype.FLOAT}
    if len(dtypes) != 1 or any(place["shape"] for _, place in places):
        raise MlflowFolderInvalid(f"The columns of its signature have several types and no names. {_GIVE_ONE}")
    storages = {place.get("storage") for _, place in places}
    [storage] = storages if len(storages) == 1 else [None]
    return {"kind": "vector", "dtype": dtypes.pop(), "shape": [len(places)], **_stored_as(storage)}


def _with_kind(place: Place) -> Place:
    if "fields" in place:
        return {"kind": "named", **place}
    return {"kind": ("scalar", "vector", "tensor")[min(len(place["shape"]), 2)], **place}


def _field(spec: Spec, warnings: list[str], *, by_mlflow: bool) -> Place:
    """Return a named column, tensor or member; an optional one can be omitted, and a single value can be null."""
    place = _place(spec, warnings, by_mlflow=by_mlflow)
    # Older releases of MLflow use `optional`.
    is_optional = spec.get("required") is False or spec.get("optional") is True
    if not is_optional or "fields" in place:
        return place
    return {**place, "required": False, **({} if place["shape"] else {"nullable": True})}


def _place(spec: Spec, warnings: list[str], *, by_mlflow: bool) -> Place:
    """Return dtype and shape of one column or tensor, without the dimension of rows."""
    kind = spec["type"]
    if kind == "tensor":
        return _tensor(spec, warnings)
    if kind == "array":
        inner = _place(spec["items"], warnings, by_mlflow=by_mlflow)
        if "fields" not in inner:
            return {**inner, "shape": [None, *inner["shape"]]}
    if kind == "object" and "name" not in spec:
        fields = {name: _field(each, warnings, by_mlflow=by_mlflow) for name, each in spec["properties"].items()}
        if not any("fields" in each for each in fields.values()):
            return {"fields": fields}
    if kind in _AS_TEXT and by_mlflow:
        warnings.append(f"{spec.get('name', 'Its input')} is a {kind} in MLflow: jobs send {_AS_TEXT[kind]}.")
        return {"dtype": Dtype.STR, "shape": []}
    if kind not in _DTYPES:
        other = " Or import it with the flavor python_function." if kind in _AS_TEXT else ""
        raise MlflowFolderInvalid(f"Its signature has the unsupported type {str(kind)!r}. {_GIVE_ONE}{other}")
    return {"dtype": _DTYPES[kind], "shape": [], **_stored_as(_STORAGES.get(kind))}


def _stored_as(storage: Storage | None) -> Place:
    return {} if storage is None or storage in _64_BITS else {"storage": storage}


def _tensor(spec: Spec, warnings: list[str]) -> Place:
    numpy_dtype, shape = str(spec["tensor-spec"]["dtype"]), list(spec["tensor-spec"]["shape"])
    dtype = next((ours for word, ours in _TENSOR_DTYPES if numpy_dtype.startswith(word)), None)
    if dtype is None and numpy_dtype in {"str", "object"}:
        dtype = Dtype.STR
    if dtype is None or not shape:
        raise MlflowFolderInvalid(f"Its signature has a tensor of {numpy_dtype} {shape}, not one of rows. {_GIVE_ONE}")
    if shape[0] != -1:
        warnings.append(f"Its signature has a tensor of exactly {shape[0]} rows: the model gets so many at a time.")
    storage = Storage(numpy_dtype) if numpy_dtype in list(Storage) else None
    free = [None if length == -1 else length for length in shape[1:]]
    return {"dtype": dtype, "shape": free, **_stored_as(storage)}


def _signature_of_example(example: Any) -> Signature:
    try:
        return Signature.from_example(example)
    except RegistryError as error:
        raise MlflowFolderInvalid(f"It has no signature, and its input example is not sufficient: {error}") from error


def _fitting(example: Any, signature: Signature, warnings: list[str]) -> Any:
    if example is None:
        return None
    try:
        signature.check(example, "input_example")
    except InputInvalid as error:
        warnings.append(f"Its input example was omitted, because it doesn't match its signature: {error}")
        return None
    return example
