"""docs/guides/models.md, "Named fields": pipelines over data frames, from their training to a prediction."""

from __future__ import annotations

import re
import shlex

from tests.everyday.conftest import Follow
from tests.support.documentation import README
from tests.support.service.stack import Stack

PAGE = "models.md"


def test_a_column_transformer_is_registered_with_its_data_frame_and_predicts_named_fields(
    follow: Follow, service: Stack
) -> None:
    shown = follow(PAGE, "train on a data frame and register")
    assert "sklearn ['age', 'bmi', 'bp', 'sex']" in shown
    one, header, first = shown.split("active.")[-1].strip().splitlines()[-3:]
    assert "prediction,error" in (one, header)
    assert first.endswith(",")
    refused = service.api.post("/predict/diabetes", json={"input": {"age": "old", "bmi": 32.1, "bp": 101, "sex": "m"}})
    assert (refused.status_code, refused.json()["field"]) == (422, "input.age")


def test_the_example_of_the_readme_is_registered_deployed_and_asked(service: Stack, follow: Follow) -> None:
    text = README.read_text(encoding="utf-8")
    [program] = re.findall(r"```python\n(# named.py\n.*?)```", text, re.DOTALL)
    [commands] = re.findall(r"\n\.venv/bin/python named\.py\n(.*?)```", text, re.DOTALL)
    service.run("-c", program)
    *_, predicted = [service.queuecast(*shlex.split(line)[1:]).stdout for line in commands.splitlines()]
    assert 200 < float(predicted) < 460


def test_a_file_is_registered_without_a_runtime_and_with_rows_as_the_example(follow: Follow) -> None:
    shown = follow(PAGE, "register a file with rows as the example")
    assert "sklearn {'dtype': 'float', 'shape': [], 'nullable': True}" in shown
    assert "Its runtime is sklearn: the file is a pickle of sklearn.pipeline.Pipeline." in shown
