"""Runtime `torch`: programs of PyTorch that need none of the classes they come from: TorchScript and torch.export."""

from __future__ import annotations

import io
import os
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from registry.errors import ModelLoadFailed, OutputInvalid, RuntimeUnavailable
from registry.runtimes.inputs.rows import predict_alike, predict_in_batches_of
from registry.runtimes.inputs.tensors import Declared, Feed
from registry.runtimes.models import devices, threads
from registry.runtimes.options import Options
from registry.runtimes.outputs import names_of, to_json
from registry.runtimes.storage import formats
from registry.signatures.input_checks import Dtype
from registry.signatures.layout import InputLayout, ValuesLayout

#: The dtypes that a program can take, and that numpy has.
_DTYPES = {
    "float16", "float32", "float64", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "bool",
}  # fmt: skip
#: Of inputs whose dtype the program doesn't state. PyTorch's own defaults.
_DEFAULT_DTYPES = {Dtype.FLOAT: "float32", Dtype.INT: "int64", Dtype.BOOL: "bool"}
#: Tensors alone are read, and no object of any class is made, when a file of torch.export is loaded.
_ENVIRONMENT = {"TORCH_FORCE_WEIGHTS_ONLY_LOAD": "1"}
#: Takes the tensors of the inputs by name.
Call = Callable[[Mapping[str, Any]], Any]


@dataclass(frozen=True)
class TorchOptions(Options):
    """There are none."""


#: Devices; a host sees at most one GPU, which is the first one there.
_CPU, _GPU = "cpu", "cuda"


class TorchModel:
    """A loaded program."""

    def __init__(self, library: ModuleType, call: Call, feed: Feed, device: str = _CPU) -> None:
        self._library = library
        self._call = call
        self._feed = feed
        self._device = device

    def predict(self, rows: list[Any]) -> list[Any]:
        """Return the outputs of the rows: of a tensor its values, of several tensors a list or an object of those.

        Raises:
            InputUnsuitable: a tensor can't contain a value.
            OutputInvalid: an output has not one value for each row, or is not JSON-serializable.
        """
        return predict_alike(rows, self._feed.kind_of, self._predict_alike)

    def _predict_alike(self, rows: list[Any]) -> list[Any]:
        size = self._feed.rows_at_once
        return self._run(rows) if size is None else predict_in_batches_of(size, rows, self._run)

    def _run(self, rows: list[Any]) -> list[Any]:
        tensors = {name: self._library.from_numpy(each) for name, each in self._feed.arrays(rows).items()}
        with self._library.inference_mode():
            answers = self._call({name: each.to(self._device) for name, each in tensors.items()})
        return self._plain(answers, "prediction", len(rows) if self._feed.is_batched else None)

    def _plain(self, value: Any, path: str, row_count: int | None) -> list[Any]:
        """Return a plain value for each row; without a batch, a list of the only one."""
        if isinstance(value, self._library.Tensor):
            return self._values(value, path, row_count)
        if isinstance(value, Mapping):
            columns = [self._plain(each, f"{path}.{name}", row_count) for name, each in value.items()]
            names = names_of(value, path)
            return [dict(zip(names, row)) for row in zip(*columns)]
        if isinstance(value, (list, tuple)):
            columns = [self._plain(each, f"{path}[{place}]", row_count) for place, each in enumerate(value)]
            return [list(row) for row in zip(*columns)]
        raise OutputInvalid(f"{path} is a {type(value).__name__}; a program must return tensors.")

    def _values(self, tensor: Any, path: str, row_count: int | None) -> list[Any]:
        if tensor.dtype is self._library.bfloat16:  # numpy doesn't have it
            tensor = tensor.float()
        values = to_json(tensor.numpy(force=True), path)
        if row_count is None:
            return [values]
        if not isinstance(values, list) or len(values) != row_count:
            raise OutputInvalid(
                f"{path} has the shape {list(tensor.shape)}, and so not one value for each of the {row_count} rows."
            )
        return values


class TorchRuntime:
    """Stores programs with PyTorch, and loads them on the GPU of the host, or else on the CPU."""

    libraries: tuple[str, ...] = ("torch", "numpy")
    #: PyTorch starts no thread when it is imported, so that a fork is safe. The last two are what `torch.export.load`
    #: imports, for two seconds.
    preloaded: tuple[str, ...] = ("numpy", "torch", "torch.export.pt2_archive._package", "torch.export._trace")

    def check_options(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """Return checked options in the form that is stored. Raises RuntimeOptionsInvalid."""
        return TorchOptions.checked(options)

    def recognizes(self, model: object) -> bool:
        """Whether it is a program of TorchScript or torch.export."""
        names = {f"{each.__module__}.{each.__name__}" for each in type(model).__mro__}
        return not names.isdisjoint({"torch.jit._script.ScriptModule", "torch.export.exported_program.ExportedProgram"})

    def dump(self, model: Any) -> bytes:
        """Return a program as its file; a file as it is. Raises ModelLoadFailed for any other module."""
        if isinstance(model, (bytes, bytearray)):
            return bytes(model)
        if not self.recognizes(model):
            raise ModelLoadFailed(
                f"The model, a {type(model).__name__}, is no program of PyTorch: register torch.export.export(model, "
                "example_inputs, dynamic_shapes=…), or torch.jit.script(model)."
            )
        library, file = _library(), io.BytesIO()
        if isinstance(model, library.jit.ScriptModule):
            library.jit.save(model, file)
        else:
            library.export.save(model, file)
        return file.getvalue()

    def load(self, path: Path, options: Mapping[str, Any], signature: InputLayout) -> TorchModel:
        """Load a program.

        Raises:
            RuntimeUnavailable: PyTorch is not installed.
            ModelLoadFailed: the file is no such program, or the signature doesn't match its inputs.
        """
        library = _library()
        _limit(library)
        TorchOptions.parse(options)
        try:
            with zipfile.ZipFile(path) as archive:
                kind = formats.program_of_torch(archive.namelist())
        except zipfile.BadZipFile:
            kind = None
        if kind is None:
            raise ModelLoadFailed(
                "The file is no complete program of PyTorch. Save one by torch.export.save() or torch.jit.save(): "
                "torch.save() stores weights without their program, or names of classes."
            )
        device = _GPU if devices.has_gpu() and library.cuda.is_available() else _CPU
        call, declared = (_scripted if kind == formats.TORCHSCRIPT else _exported)(library, path, signature, device)
        return TorchModel(library, call, Feed(declared, signature), device)


def _scripted(library: ModuleType, path: Path, signature: InputLayout, device: str) -> tuple[Call, Sequence[Declared]]:
    module = library.jit.load(str(path), map_location=device).eval()
    arguments = [each for each in module.forward.schema.arguments[1:] if not each.has_default_value()]
    strange = [f"{each.name}: {each.type}" for each in arguments if str(each.type) != "Tensor"]
    if strange:
        raise ModelLoadFailed(f"The program takes {', '.join(strange)}; only tensors can be converted from JSON.")
    names = [each.name for each in arguments]
    declared = [Declared(name, _dtype(name, names, signature), ()) for name in names]
    return lambda tensors: module(*[tensors[name] for name in names]), declared


def _exported(library: ModuleType, path: Path, _signature: InputLayout, device: str) -> tuple[Call, Sequence[Declared]]:
    with path.open("rb") as file:  # given a path, PyTorch decides by its suffix
        program = library.export.load(file)
    names = [str(each) for each in program.graph_signature.user_inputs]
    examples = {node.name: node.meta.get("val") for node in program.graph.nodes if node.op == "placeholder"}
    declared = [_declared(library, name, examples.get(name)) for name in names]
    if device != _CPU:
        from torch.export.passes import move_to_device_pass

        program = move_to_device_pass(program, device)  # also the constants in its graph
    module, structure = program.module(), program.call_spec.in_spec

    def call(tensors: Mapping[str, Any]) -> Any:
        positional, named = library.utils._pytree.tree_unflatten([tensors[name] for name in names], structure)  # noqa: SLF001 - there is no other
        return module(*positional, **named)

    return call, declared


def _declared(library: ModuleType, name: str, example: Any) -> Declared:
    """Return an input as the program declares it by the example with which it was exported."""
    if not isinstance(example, library.Tensor):
        raise ModelLoadFailed(f"The program takes {name}, which is no tensor; only tensors can be converted from JSON.")
    dtype = str(example.dtype).removeprefix("torch.")
    if dtype not in _DTYPES:
        raise ModelLoadFailed(f"The program takes {name} in {dtype}, which can't be converted from JSON.")
    return Declared(name, dtype, [each if isinstance(each, int) else None for each in example.shape])


def _dtype(name: str, names: Sequence[str], signature: InputLayout) -> str:
    """Return the dtype in which the signature gives an input whose dtype the program doesn't state."""
    fields: Mapping[str, ValuesLayout] = signature.fields or {}
    given = [fields[name]] if set(fields) == set(names) else list(fields.values()) or [signature]
    dtypes = {each.storage or _DEFAULT_DTYPES.get(each.dtype or Dtype.STR) for each in given}
    if None in dtypes:
        raise ModelLoadFailed("The program takes tensors, and the signature has text.")
    if len(dtypes) == 1:
        return str(dtypes.pop())
    return _DEFAULT_DTYPES[Dtype.FLOAT]


def _limit(library: ModuleType) -> None:
    """Forbid this process, a model host, to make objects from pickles, and limit its threads."""
    os.environ.update(_ENVIRONMENT)
    library.set_num_threads(threads.allowed())
    if library.get_num_interop_threads() > threads.allowed():
        library.set_num_interop_threads(threads.allowed())


def _library() -> ModuleType:
    try:
        import torch
    except ModuleNotFoundError as error:
        raise RuntimeUnavailable("torch", "torch" if error.name == "torch" else str(error.name)) from error
    library: ModuleType = torch
    return library


RUNTIME = TorchRuntime()
