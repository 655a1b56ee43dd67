"""Runtimes use the GPU that their host was given, and none unasked; on a machine that has none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_wine

from registry import runtimes
from registry.hosting import environment
from registry.runtimes import torch as torch_runtime
from registry.runtimes.models import devices
from registry.signatures.signature import Signature

pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
WINE = load_wine()
ROWS = WINE.data.tolist()


@pytest.fixture(params=[None, "", "0"], ids=["unset", "empty", "given"])
def is_given(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whether the process was given a GPU, in each way of giving none or one."""
    if request.param is None:
        monkeypatch.delenv(devices.VISIBLE, raising=False)
    else:
        monkeypatch.setenv(devices.VISIBLE, request.param)
    return bool(request.param)


def loaded(runtime: str, content: bytes, tmp_path: Path) -> Any:
    path = tmp_path / "model"
    path.write_bytes(content)
    return runtimes.get(runtime).load(path, {}, Signature.from_example(ROWS[0]))


def test_the_environment_of_a_host_names_its_gpu_or_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(devices.VISIBLE, "0,1")
    assert environment.scrubbed(1, [])[devices.VISIBLE] == ""
    assert environment.scrubbed(1, [], "3")[devices.VISIBLE] == "3"
    # As nvidia-smi numbers them; CUDA's own order is by speed.
    assert environment.scrubbed(1, [], "3")["CUDA_DEVICE_ORDER"] == "PCI_BUS_ID"


def test_onnx_computes_where_it_can(tmp_path: Path, is_given: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    from skl2onnx import to_onnx
    from sklearn.linear_model import LinearRegression

    made = to_onnx(LinearRegression().fit(WINE.data, WINE.target), WINE.data[:1].astype(np.float32))
    asked: list[list[str]] = []
    session = onnxruntime.InferenceSession

    def recorded(path: str, options: Any, providers: list[str]) -> Any:
        asked.append(providers)
        return session(path, options, providers=["CPUExecutionProvider"])

    monkeypatch.setattr(onnxruntime, "InferenceSession", recorded)
    loaded("onnx", made.SerializeToString(), tmp_path)
    assert asked == [["CPUExecutionProvider"]], "this build has no CUDA"
    both = ["CUDAExecutionProvider", "CPUExecutionProvider"]
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: both)
    loaded("onnx", made.SerializeToString(), tmp_path)
    assert asked[1] == (both if is_given else both[1:])


def test_xgboost_is_told_of_a_gpu_and_answers_without_one(
    tmp_path: Path, is_given: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    xgboost = pytest.importorskip("xgboost")
    fitted = xgboost.XGBRegressor(n_estimators=3, n_jobs=1).fit(WINE.data, WINE.target)
    told: list[Any] = []  # also of what the library tells itself
    monkeypatch.setattr(xgboost, "build_info", lambda: {"USE_CUDA": True})
    monkeypatch.setattr(xgboost.Booster, "set_param", lambda _, values: told.append(values))
    model = loaded("xgboost", fitted.get_booster().save_raw("ubj"), tmp_path)
    assert ({"device": "cuda"} in told) is is_given
    assert model.predict(ROWS) == fitted.predict(WINE.data).tolist()


@pytest.mark.torch
@pytest.mark.parametrize("form", ["scripted", "exported"])
def test_torch_moves_the_program_and_its_inputs(
    tmp_path: Path, is_given: bool, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch = pytest.importorskip("torch")

    class Shifted(torch.nn.Module):  # type: ignore[name-defined,misc]
        def __init__(self) -> None:
            super().__init__()
            self.linear = torch.nn.Linear(13, 2)
            self.register_buffer("shift", torch.ones(2))

        def forward(self, rows: Any) -> Any:
            return self.linear(rows) + self.shift

    program = Shifted().eval()
    expected = program(torch.tensor(ROWS, dtype=torch.float32)).tolist()
    if form == "scripted":
        made: Any = torch.jit.trace(program, torch.zeros(2, 13))
    else:
        batch = {0: torch.export.Dim.DYNAMIC}
        made = torch.export.export(program, (torch.zeros(2, 13),), dynamic_shapes=(batch,))
    # A device that every machine has, and on which tensors have no values.
    monkeypatch.setattr(torch_runtime, "_GPU", "meta")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    seen: list[str] = []
    plain = torch_runtime.TorchModel._values

    def recorded(model: Any, tensor: Any, *rest: Any) -> Any:
        seen.append(tensor.device.type)
        return plain(model, torch.zeros(tensor.shape) if tensor.device.type == "meta" else tensor, *rest)

    monkeypatch.setattr(torch_runtime.TorchModel, "_values", recorded)
    answers = loaded("torch", runtimes.get("torch").dump(made), tmp_path).predict(ROWS)
    assert set(seen) == {"meta" if is_given else "cpu"}
    assert len(answers) == len(ROWS)
    if not is_given:
        assert answers == [pytest.approx(row, rel=1e-5) for row in expected]


@pytest.mark.torch
def test_importing_what_hosts_of_torch_preload_touches_no_gpu() -> None:
    """The process that hosts are forked from imports these, and a process that has touched CUDA can't be forked."""
    torch = pytest.importorskip("torch")
    runtimes.preload(runtimes.get("torch").preloaded)
    assert not torch.cuda.is_initialized()
