"""Model folders that MLflow itself has written (docs/guides/mlflow.md and more): imported, deployed, predicted."""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from api.client import Client
from registry.artifacts import archives
from tests.support.documentation import documented_file, documented_shell
from tests.support.service.environment import REPOSITORY
from tests.support.service.stack import Stack
from workers.hosts.worker_side.launcher import scrubbed_environment

#: MLflow loads a model in another process to find what it requires, for seconds; what it falls back on will do.
QUICK = """
import mlflow.models
mlflow.models.infer_pip_requirements = lambda model_uri, flavor, fallback=None, **_: fallback
"""
#: Weights over a kilobyte, which MLflow stores in a file of their own; a tensor signature; a model with own code.
MORE = """
import numpy as np, mlflow.onnx
from onnx import TensorProto, helper, numpy_helper
weights = numpy_helper.from_array(np.full((600, 1), 0.5, np.float32), "weights")
graph = helper.make_graph(
    [helper.make_node("MatMul", ["rows", "weights"], ["sums"])], "sums",
    [helper.make_tensor_value_info("rows", TensorProto.FLOAT, [None, 600])],
    [helper.make_tensor_value_info("sums", TensorProto.FLOAT, [None, 1])], [weights],
)
onnx_model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
rows = np.ones((2, 600), np.float32)
signature = infer_signature(rows, rows[:, :1])
mlflow.onnx.save_model(onnx_model, "sums_model", signature=signature, input_example=rows)

from sklearn.linear_model import LinearRegression
rows = np.array([[1.0, 2.0], [2.0, 1.0], [3.0, 5.0]])
mlflow.sklearn.save_model(
    LinearRegression().fit(rows, rows.sum(axis=1)), "added_model", serialization_format="cloudpickle",
    signature=infer_signature(rows, rows[:, 0]), input_example=rows,
)

Path("own").mkdir()
Path("own/its_own_code.py").write_text("def shout(text): return {'loud': text.upper()}\\n")
Path("loud.py").write_text('''
import mlflow
class Loud(mlflow.pyfunc.PythonModel):
    def predict(self, model_input: list[str], params=None) -> list[dict[str, str]]:
        from its_own_code import shout
        return [shout(each) for each in model_input]
mlflow.models.set_model(Loud())
''')
import sys; sys.path.insert(0, "own")
code = ["own/its_own_code.py"]
mlflow.pyfunc.save_model("loud_model", python_model="loud.py", code_paths=code, input_example=["quiet"])
"""


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory, service: Stack) -> Path:
    folder = tmp_path_factory.mktemp("mlflow")
    program = QUICK + documented_file("mlflow.md", "train.py") + documented_file("mlflow.md", "wrap.py") + MORE
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program],
        env={**service.env, "MLFLOW_DISABLE_TELEMETRY": "true", "HOME": str(folder)},
        cwd=folder, capture_output=True, text=True, timeout=110, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return folder


def predicted(service: Stack, model_name: str, row: Any) -> Any:
    service.deploy(model_name)
    body = {"model_name": model_name, "inputs": [row, row]}
    answer = service.api.post("/predict", json=body, headers={"Prefer": "wait=30"})
    assert answer.status_code == 200, answer.text
    first, second = answer.json()["predictions"]
    assert first == second
    return first


def test_the_commands_of_the_page_print_what_it_says(service: Stack, folders: Path) -> None:
    printed, promised = [], []
    for block in documented_shell("mlflow.md"):
        for line in block.splitlines():
            program, *arguments = shlex.split(line, comments=True) or [""]
            if program == "queuecast":
                found = [str(folders / each) if each.endswith("_model") else each for each in arguments]
                printed += service.queuecast(*found).stdout.splitlines()
            promised += [line.removeprefix("# ")] if line.startswith("# ") else []
    for endpoint_name in ("species", "prices"):
        service.undeploy(endpoint_name, "reject", wait_s=0)
    assert printed == promised


@pytest.mark.parametrize(
    ("kind", "said", "row", "prediction"),
    [
        ("sums", "flavor onnx, runtime onnx", [2.0] * 600, [600.0]),
        ("added", "flavor sklearn, runtime sklearn", [4.0, 5.0], pytest.approx(9.0)),
        ("loud", "flavor python_function, runtime mlflow", "quiet", {"loud": "QUIET"}),
    ],
)
def test_a_folder_is_imported_deployed_and_asked(
    service: Stack, name: str, folders: Path, kind: str, said: str, row: Any, prediction: Any
) -> None:
    done = service.queuecast("models", "import-mlflow", name, str(folders / f"{kind}_model"))
    assert done.stdout == f"Imported {name} version 1: {said}.\n"
    assert predicted(service, name, row) == prediction


def test_the_python_client_imports_and_another_flavor_can_be_chosen(service: Stack, name: str, folders: Path) -> None:
    with Client(service.url) as client:
        version = client.import_mlflow(name, folders / "added_model", flavor="python_function", metadata={"team": "a"})
    assert (version.runtime, version.metadata["team"]) == ("mlflow", "a")
    origin = version.metadata["mlflow"]
    assert origin["flavors"] == ["python_function", "sklearn"]
    assert origin["mlflow_version"].startswith("3.")
    assert any(each.startswith("scikit-learn==") for each in origin["requirements"])


#: MLflow's own registry, in a folder: version 2 of a model has aliases and tags.
REGISTER = """
import sys
from mlflow import MlflowClient
client = MlflowClient()
client.create_registered_model("sums")
for folder in sys.argv[1:]:
    version = client.create_model_version("sums", source=folder, tags={"reviewed": "yes", "not a name": "1"})
client.set_registered_model_alias("sums", "champion", version.version)
client.set_registered_model_alias("sums", "newest", version.version)
"""


@pytest.mark.timeout(300)
def test_a_version_of_mlflows_registry_brings_its_aliases_and_tags(
    service: Stack, name: str, folders: Path, tmp_path: Path
) -> None:
    env = {
        **service.env,
        "MLFLOW_TRACKING_URI": (tmp_path / "registry").as_uri(),
        "MLFLOW_ALLOW_FILE_STORE": "true",
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, *arguments]
        return subprocess.run(
            command, env=env, cwd=REPOSITORY, capture_output=True, text=True, timeout=110, check=False
        )

    done = run("-c", REGISTER, str(folders / "sums_model"), str(folders / "added_model"))
    assert done.returncode == 0, done.stderr
    done = run("-m", "api.cli", "models", "import-mlflow", name, "models:/sums@champion")
    assert done.stdout.splitlines() == [
        f"Imported {name} version 1: flavor sklearn, runtime sklearn.",
        "Its aliases: champion, newest.",
        "Its tags: reviewed=yes.",
    ], done.stderr
    assert "MLflow's tag 'not a name' is left out" in done.stderr
    shown = service.api.get(f"/models/{name}").json()
    assert shown["aliases"] == {"champion": "1", "newest": "1"}
    assert shown["versions"][0]["tags"] == {"reviewed": "yes"}
    assert run("-m", "api.cli", "models", "import-mlflow", name, "models:/sums/1").returncode == 0
    for wrong in ("models:/sums", "models:/sums@none", "models:/none/1"):
        refused = run("-m", "api.cli", "models", "import-mlflow", name, wrong)
        assert refused.returncode == 2, refused.stderr
        assert wrong in refused.stderr


def test_a_host_writes_nothing_but_the_folder_beside_the_artifact(folders: Path, tmp_path: Path) -> None:
    places = {name: tmp_path / name for name in ("home", "temporary", "here", "cache")}
    for place in places.values():
        place.mkdir()
    artifact = places["cache"] / "artifact"
    with artifact.open("wb") as file:
        archives.pack(folders / "loud_model", file)
    program = (
        "import sys; from pathlib import Path\n"
        "from registry import runtimes; from registry.signatures.signature import Signature\n"
        "signature = Signature.from_example('quiet')\n"
        "model = runtimes.load('mlflow', Path(sys.argv[1]), {}, signature)\n"
        "print(model.predict(['quiet', 'low']))"
    )
    env = {**scrubbed_environment(1), "HOME": str(places["home"]), "TMPDIR": str(places["temporary"])}
    done = subprocess.run(
        [sys.executable, "-P", "-c", program, str(artifact)],
        env=env, cwd=places["here"], capture_output=True, text=True, timeout=110, check=False,
    )  # fmt: skip
    assert done.stdout.splitlines()[-1:] == ["[{'loud': 'QUIET'}, {'loud': 'LOW'}]"], done.stderr
    assert sorted(each.name for each in places["cache"].iterdir()) == ["artifact", "artifact.folder"]
    assert not list(places["cache"].rglob("__pycache__"))
    assert [list(places[name].rglob("*")) for name in ("home", "temporary", "here")] == [[], [], []]
