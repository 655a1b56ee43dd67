"""MLflow model folders over HTTP: what becomes of them, and what is refused; no model is loaded here."""

from __future__ import annotations

import io
import json
import tarfile
import zipfile
from typing import Any

import pytest

from tests.api.conftest import Client
from tests.api.described_client import Answer

#: As MLflow 1.30 has written it, a real model's bytes apart.
OLD = """
artifact_path: model
flavors:
  python_function:
    env: conda.yaml
    loader_module: mlflow.sklearn
    model_path: model.pkl
    predict_fn: predict
    python_version: 2.7.18
  sklearn:
    code: null
    pickled_model: model.pkl
    serialization_format: cloudpickle
    sklearn_version: 0.20.0
mlflow_version: 1.30.0
model_uuid: 5d3a227894f34c70851ac9242f3f5ef3
run_id: 0b1c
saved_input_example_info: {artifact_path: input_example.json, pandas_orient: split, type: dataframe}
signature:
  inputs: '[{"name": "x", "type": "double"}, {"name": "n", "type": "long"}]'
  outputs: '[{"type": "double"}]'
utc_time_created: '2022-11-01 10:00:00.000000'
"""
#: A model of MLflow's own classes, with each kind of file that it can have.
PYTHON = """
flavors:
  python_function:
    loader_module: mlflow.pyfunc.model
    python_model: python_model.pkl
    model_code_path: /home/me/code.py
    artifacts: {words: {path: artifacts/words, uri: /home/me/words}}
signature: {inputs: '[{"name": "x", "type": "double"}]'}
"""
EXAMPLE = json.dumps({"columns": ["x", "n"], "data": [[1.5, 2]]})
WHOLE = {"MLmodel": OLD, "model.pkl": "bytes", "input_example.json": EXAMPLE}


def post(client: Client, files: dict[str, str], folder: str = "", **metadata: Any) -> Answer:
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w:gz") as archive:
        for name, text in files.items():
            member = tarfile.TarInfo(folder + name)
            member.size = len(text.encode())
            archive.addfile(member, io.BytesIO(text.encode()))
    target.seek(0)
    described = json.dumps({"name": "old", "format": "mlflow", **metadata})
    parts = {"artifact": (target, "model.tar.gz"), "metadata": described}
    return client.post("/models", data=parts, content_type="multipart/form-data")


@pytest.mark.parametrize("folder", ["", "./", "model/"])
def test_an_old_folder_becomes_a_version_that_says_where_it_came_from(client: Client, folder: str) -> None:
    files = {"MLmodel": OLD, "model.pkl": "bytes", "input_example.json": EXAMPLE, "requirements.txt": "a==1\n"}
    answer = post(client, files, folder)
    assert answer.status_code == 201, answer.text
    version = answer.json
    assert (version["runtime"], version["runtime_options"]) == ("sklearn", {"method": "predict"})
    assert version["artifact_size_bytes"] == len("bytes")
    assert version["input_example"] == {"x": 1.5, "n": 2}
    assert version["signature"]["fields"]["n"] == {"dtype": "int", "shape": []}
    origin = version["metadata"]["mlflow"]
    assert version["metadata"]["built_with"] == {"python": "2.7.18", "scikit-learn": "0.20.0"}
    assert (origin["run_id"], origin["requirements"], origin["flavor"]) == ("0b1c", ["a==1"], "sklearn")
    python, sklearn = origin["warnings"]
    assert "Python 2.7.18" in python
    assert "scikit-learn 0.20.0" in sklearn


def test_what_a_request_says_goes_before_what_the_folder_says(client: Client) -> None:
    said: dict[str, Any] = {"runtime_options": {"method": "predict_proba"}, "input_example": [1.0], "version": "first"}
    version = post(client, {"MLmodel": OLD, "model.pkl": "bytes"}, **said).json
    assert {name: version[name] for name in said} == said
    assert version["signature"]["kind"] == "vector"


def test_a_folder_with_all_files_of_a_python_model_is_imported(client: Client) -> None:
    files = {"MLmodel": PYTHON, "python_model.pkl": "x", "code.py": "", "artifacts/words": "a b"}
    assert post(client, files).json["runtime"] == "mlflow"


def test_the_same_folder_is_the_same_artifact(client: Client) -> None:
    files = {"MLmodel": OLD, "model.pkl": "bytes", "input_example.json": EXAMPLE}
    shas = {post(client, files, place, flavor="python_function").json["artifact_sha256"] for place in ("", "model/")}
    assert len(shas) == 1


@pytest.mark.parametrize(
    ("files", "more", "word"),
    [
        ({"model.pkl": "x"}, {}, "no MLmodel file"),
        ({"a/MLmodel": OLD, "b/MLmodel": OLD}, {}, "several MLmodel files"),
        ({"MLmodel": "flavors: {spark: {}}"}, {}, "the flavors spark; it needs one of sklearn, onnx, python_function"),
        ({"MLmodel": "- a"}, {}, "has no flavors"),
        ({"MLmodel": "a: ["}, {}, "not YAML"),
        ({"MLmodel": "a: &b {}\nflavors: {sklearn: *b}"}, {}, "aliases"),
        ({"MLmodel": "flavors: !!python/object/apply:os.getpid []"}, {}, "not YAML"),
        ({**WHOLE, "MLmodel": OLD + "metadata: {1: a, '1': b}"}, {}, "become the same text, '1'"),
        ({**WHOLE, "MLmodel": OLD + "metadata: {2022-11-01: a}"}, {}, "must be a JSON object"),
        ({"MLmodel": OLD}, {}, "'model.pkl', which is not in the folder"),
        ({"MLmodel": OLD.replace("model.pkl", "../../etc/passwd")}, {}, "not in the folder"),
        ({"MLmodel": OLD}, {"flavor": "python_function"}, "'model.pkl', which is not in the folder"),
        ({"MLmodel": PYTHON, "code.py": ""}, {}, "'python_model.pkl', which is not in the folder"),
        ({"MLmodel": PYTHON, "python_model.pkl": ""}, {}, "'code.py', which is not in the folder"),
        ({"MLmodel": PYTHON, "python_model.pkl": "", "code.py": ""}, {}, "'artifacts/words', which is not in the"),
        ({"MLmodel": OLD.replace("model.pkl", "a"), "a/b": "x"}, {}, "'a', which is a folder"),
        ({"MLmodel": OLD, "model.pkl": "x"}, {"flavor": "onnx"}, "no flavor 'onnx'; it has python_function, sklearn"),
        ({"MLmodel": "flavors: {onnx: {}}", "model.onnx": "x"}, {}, "neither a signature nor an input example"),
    ],
)
def test_what_cannot_be_imported_is_refused_with_the_reason(
    client: Client, files: dict[str, str], more: dict[str, str], word: str
) -> None:
    answer = post(client, files, **more)
    assert (answer.status_code, answer.json["code"]) == (422, "mlflow_folder_invalid"), answer.text
    assert word in answer.json["detail"]


def test_a_damaged_zip_is_refused(client: Client) -> None:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("MLmodel", OLD)
    damaged = target.getvalue().replace(b"flavors", b"FLAVORS")
    metadata = json.dumps({"name": "imported", "format": "mlflow"})
    form = {"artifact": (io.BytesIO(damaged), "model.zip"), "metadata": metadata}
    answer = client.post("/models", data=form)
    assert (answer.status_code, answer.json["code"]) == (422, "archive_invalid")


def test_an_archive_that_leads_out_is_refused(client: Client) -> None:
    answer = post(client, {"MLmodel": OLD}, folder="../")
    assert (answer.status_code, answer.json["code"]) == (422, "archive_invalid")


@pytest.mark.parametrize("more", [{"runtime": "sklearn"}, {"format": None, "runtime": "onnx", "flavor": "onnx"}])
def test_runtime_and_format_exclude_each_other(client: Client, more: dict[str, Any]) -> None:
    assert post(client, {"MLmodel": OLD}, **more).json["code"] == "request_invalid"
