"""Programs of PyTorch answer as they do in the process that made them; the library is large, so they have a tier."""

from __future__ import annotations

import io
import os
import pickle
import sys
import zipfile
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_digits, load_wine

from registry import runtimes
from registry.errors import InputUnsuitable, ModelLoadFailed, OutputInvalid, RuntimeOptionsInvalid, RuntimeUnavailable
from registry.runtimes.storage import detection
from tests.registry.conftest import RoundTrip

pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
DIGITS = load_digits()
WINE = load_wine()
#: Images of 8 × 8 numbers.
IMAGES = (DIGITS.images[:40] / 16).astype("float32")


def test_a_library_that_is_missing_is_named_with_the_command_that_installs_it(
    round_trip: RoundTrip, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(RuntimeUnavailable, match=r"pip install 'queuecast\[torch\]'"):
        round_trip(b"PK", input_example=1.0, runtime="torch")


def archive(*names: str) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as written:
        for name in names:
            written.writestr(name, b"pt2")
    return file.getvalue()


def test_programs_are_recognised_without_the_library() -> None:
    scripted = archive("m/data.pkl", "m/code/__torch__.py", "m/constants.pkl")
    exported = archive("m/archive_format", "m/models/model.json")
    assert [detection.detect(io.BytesIO(each)).runtime for each in (scripted, exported)] == ["torch"] * 2


@pytest.fixture
def torch() -> Iterator[Any]:
    library: Any = pytest.importorskip("torch")
    library.manual_seed(0)
    yield library
    os.environ.pop("TORCH_FORCE_WEIGHTS_ONLY_LOAD", None)


Written = Callable[..., Any]


def scripted(torch: Any, module: Any, *_: Any, **__: Any) -> Any:
    return torch.jit.script(module)


def traced(torch: Any, module: Any, *example: Any, **__: Any) -> Any:
    return torch.jit.trace(module, example)


def exported(torch: Any, module: Any, *example: Any, free: bool = True) -> Any:
    batch = {0: torch.export.Dim.DYNAMIC} if free else {}
    return torch.export.export(module, example, dynamic_shapes=tuple(batch for _ in example))


WAYS: list[Written] = [scripted, traced, exported]


def network(torch: Any) -> Any:
    """Digits from images, fitted for a moment, with a layer that is off when it predicts."""
    layers = torch.nn
    module = layers.Sequential(layers.Flatten(), layers.Linear(64, 24), layers.ReLU(), layers.Dropout(0.5),
                               layers.Linear(24, 10), layers.Softmax(dim=1))  # fmt: skip
    optimizer = torch.optim.Adam(module.parameters(), lr=0.02)
    images, target = torch.from_numpy(DIGITS.images.astype("float32") / 16), torch.from_numpy(DIGITS.target)
    for _ in range(30):
        optimizer.zero_grad()
        torch.nn.functional.nll_loss(torch.log(module(images) + 1e-9), target).backward()
        optimizer.step()
    return module.eval()


def called(torch: Any, module: Any, *arrays: Any) -> Any:
    with torch.inference_mode():
        return module(*map(torch.from_numpy, arrays))


@pytest.mark.torch
@pytest.mark.parametrize("write", WAYS)
def test_a_program_answers_as_its_module_does(torch: Any, round_trip: RoundTrip, write: Written) -> None:
    module = network(torch)
    program = write(torch, module, torch.zeros(2, 8, 8))
    assert runtimes.guess(program) == "torch"
    model = round_trip(program, input_example=IMAGES[0].tolist())
    answers = model.predict(IMAGES.tolist())
    expected = called(torch, module, IMAGES)
    assert answers == expected.tolist()
    assert (np.argmax(answers, axis=1) == DIGITS.target[:40]).mean() > 0.8
    alone = [model.predict([row])[0] for row in IMAGES.tolist()]
    assert np.allclose(alone, answers, rtol=0, atol=1e-6)  # PyTorch may add in another order
    assert detection.detect(io.BytesIO(runtimes.get("torch").dump(program))).runtime == "torch"


@pytest.mark.torch
def test_storing_a_program_changes_nothing_in_the_process_that_trains(torch: Any) -> None:
    before = torch.get_num_threads(), dict(os.environ)
    torch.set_num_threads(2)
    try:
        assert runtimes.get("torch").dump(scripted(torch, torch.nn.Linear(4, 1)))
        assert (torch.get_num_threads(), dict(os.environ)) == (2, before[1])
    finally:
        torch.set_num_threads(before[0])


@pytest.mark.torch
@pytest.mark.parametrize("write", WAYS)
def test_named_fields_are_columns_of_the_only_input(torch: Any, round_trip: RoundTrip, write: Written) -> None:
    module = torch.nn.Linear(3, 1)
    data = WINE.data[:10, :3].astype("float32")
    model = round_trip(write(torch, module, torch.zeros(2, 3)), input_example={"a": 1.5, "b": 2, "c": 3.0})
    rows = [{"c": c, "a": a, "b": b} for a, b, c in data.tolist()]
    assert model.predict(rows) == called(torch, module, data).tolist()


@pytest.mark.torch
def test_fields_that_are_inputs_are_a_tensor_each_with_its_own_dtype(torch: Any, round_trip: RoundTrip) -> None:
    class Several(torch.nn.Module):  # type: ignore[misc]
        def forward(self, weights: Any, kind: Any) -> Any:
            return {"sum": torch.nansum(weights, dim=1), "kinds": (kind + 1, kind.double() / 2)}

    program = exported(torch, Several(), torch.zeros(2, 4), torch.zeros(2, dtype=torch.int64))
    weights = {"dtype": "float", "shape": [4], "nullable": True}
    signature = {"kind": "named", "fields": {"kind": {"dtype": "int"}, "weights": weights}}
    model = round_trip(program, signature=signature)
    rows = [{"kind": 2**40, "weights": [1, 2, 3, 4.5]}, {"kind": -1, "weights": [0.5, None, 0, 0]}]
    assert model.predict(rows) == [
        {"sum": 10.5, "kinds": [2**40 + 1, 2.0**39]},
        {"sum": 0.5, "kinds": [0, -0.5]},
    ]
    with pytest.raises(ModelLoadFailed, match="takes the inputs weights, kind: its signature must be of kind named"):
        round_trip(program, input_example=[1.0, 2.0])


@pytest.mark.torch
def test_torchscript_takes_the_dtypes_of_the_signature(torch: Any, round_trip: RoundTrip) -> None:
    class Shown(torch.nn.Module):  # type: ignore[misc]
        def forward(self, a: Any, b: Any) -> Any:
            return a + 0, b + 0

    def answers(a: str, b: str, row: Any) -> Any:
        signature = {"kind": "named", "fields": {"a": {"dtype": a}, "b": {"dtype": b, "shape": [None]}}}
        program = traced(torch, Shown(), torch.zeros(2, 1), torch.zeros(2, 2))
        return round_trip(program, signature=signature).predict([row])[0]

    third = float(np.float32(1 / 3))
    assert answers("float", "int", {"a": 1 / 3, "b": [2**40]}) == [[third], [2**40]]
    assert answers("float64", "float", {"a": 1 / 3, "b": [1 / 3, 1]}) == [[1 / 3], [third, 1.0]]
    with pytest.raises(InputUnsuitable, match="float32"):
        answers("float", "float", {"a": 1e39, "b": [1.0]})
    with pytest.raises(ModelLoadFailed, match="the signature has text"):
        answers("str", "float", {"a": "x", "b": [1.0]})


@pytest.mark.torch
def test_a_program_for_one_length_of_batches_gets_them_of_that_length(torch: Any, round_trip: RoundTrip) -> None:
    module = network(torch)
    model = round_trip(exported(torch, module, torch.zeros(3, 8, 8), free=False), input_example=IMAGES[0].tolist())
    assert np.allclose(model.predict(IMAGES.tolist()), called(torch, module, IMAGES), rtol=0, atol=1e-6)


@pytest.mark.torch
def test_rows_of_different_lengths_are_predicted_apart(torch: Any, round_trip: RoundTrip) -> None:
    class Length(torch.nn.Module):  # type: ignore[misc]
        def forward(self, a: Any) -> Any:
            return a.sum(dim=1)

    model = round_trip(traced(torch, Length(), torch.zeros(2, 3)), signature={"kind": "vector", "dtype": "float"})
    assert model.predict([[1, 2], [3], [4, 5, 6], [7, 8]]) == [3, 3, 15, 15]


@pytest.mark.torch
def test_what_does_not_fit_is_refused_with_the_shapes(torch: Any, round_trip: RoundTrip) -> None:
    module = network(torch)
    with pytest.raises(ModelLoadFailed, match=r"in the shape \[any, 8, 8\]; an input of the signature .* \[2\]"):
        round_trip(exported(torch, module, torch.zeros(2, 8, 8)), input_example=[1.0, 2.0])
    with pytest.raises(ModelLoadFailed, match=r"(?s)fails on its example: RuntimeError: .*shapes cannot be multiplied"):
        round_trip.register(scripted(torch, module), input_example=[1.0, 2.0])
    with pytest.raises(ModelLoadFailed, match=r"a Sequential, is no program of PyTorch: register torch\.export"):
        round_trip(module, input_example=[1.0], runtime="torch")
    with pytest.raises(RuntimeOptionsInvalid, match=r"runtime_options\.device"):
        round_trip(module, input_example=[1.0], runtime="torch", runtime_options={"device": "cuda"})


@pytest.mark.torch
def test_an_output_without_a_value_for_each_row_is_refused(torch: Any, round_trip: RoundTrip) -> None:
    class Total(torch.nn.Module):  # type: ignore[misc]
        def forward(self, a: Any) -> Any:
            return a.sum()

    class Root(torch.nn.Module):  # type: ignore[misc]
        def forward(self, a: Any) -> Any:
            return torch.sqrt(a)

    with pytest.raises(OutputInvalid, match="not one value for each of the 2 rows"):
        round_trip(traced(torch, Total(), torch.zeros(2, 1)), input_example=1.0).predict([1.0, 2.0])
    with pytest.raises(OutputInvalid, match="NaN"):
        round_trip(traced(torch, Root(), torch.zeros(2, 1)), input_example=1.0).predict([-1.0])


EXPLODED: list[str] = []


def explode() -> None:
    EXPLODED.append("yes")


class Bomb:
    def __reduce__(self) -> Any:
        return explode, ()


@pytest.mark.torch
def test_a_file_that_is_another_thing_or_cut_off_is_refused(torch: Any, round_trip: RoundTrip) -> None:
    module = network(torch)
    for program in (scripted(torch, module), exported(torch, module, torch.zeros(2, 8, 8))):
        version = round_trip.register(program, input_example=IMAGES[0].tolist())
        path = round_trip.cache.fetch(version.artifact_sha256)
        whole, weights, pickled = path.read_bytes(), io.BytesIO(), io.BytesIO()
        torch.save(module.state_dict(), weights)
        torch.save(module, pickled)
        others = [b"", pickle.dumps(Bomb()), weights.getvalue(), pickled.getvalue()]
        for content in [*others, whole[:-30], whole[: len(whole) // 2]]:
            path.write_bytes(content)
            with pytest.raises(ModelLoadFailed, match="The file is no complete program of PyTorch"):
                round_trip.load(version, path)
        pickled = io.BytesIO()
        torch.save(Bomb(), pickled)
        for bomb in (pickle.dumps(Bomb(), protocol=2), pickled.getvalue()):
            path.write_bytes(_with_bombs(whole, bomb))
            with pytest.raises(ModelLoadFailed, match="The model can't be loaded"):
                round_trip.load(version, path)
    assert not EXPLODED


def _with_bombs(program: bytes, bomb: bytes) -> bytes:
    """The program with a pickle that runs code in the place of each of its pickles."""
    file = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(program)) as read, zipfile.ZipFile(file, "w") as written:
        for name in read.namelist():
            written.writestr(name, bomb if name.endswith(("/data.pkl", "/model.pt")) else read.read(name))
    return file.getvalue()
