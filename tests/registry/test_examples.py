from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from registry import deployments, examples, migrate, runtimes, versions
from registry.database import default_database
from registry.examples import Example
from registry.examples.__main__ import DEPLOYED, main
from registry.runtimes.protocol import Model
from registry.signatures.signature import Signature
from tests.registry.conftest import RoundTrip


@pytest.fixture(scope="module")
def loaded(built_examples: dict[str, Example], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Model]:
    """The models as a host has them: loaded back from what is stored."""
    folder, models = tmp_path_factory.mktemp("examples"), {}
    for name, example in built_examples.items():
        (folder / name).write_bytes(runtimes.get(example.runtime).dump(example.model))
        signature = Signature.from_example(example.input_example)
        models[name] = runtimes.load(example.runtime, folder / name, example.runtime_options, signature)
    return models


#: Each example, the digits' as a slow test: hundreds of calls of a forest, or fitting it again.
EACH_MANY_TIMES = [
    pytest.param(name, marks=pytest.mark.slow) if name == "digits_classifier" else name for name in examples.NAMES
]


def expected(example: Example) -> list[Any]:
    """Return the model's own outputs for all rows, without Queuecast."""
    if example.name == "quadratic_predictor":
        return [example.model(row) for row in example.rows]
    if example.name == "digits_classifier":
        answers: list[Any] = example.model.predict(example.rows).tolist()
        return answers
    labels, likelihoods = example.model.predict(example.rows), example.model.predict_proba(example.rows)
    return [
        {"label": label, "probabilities": dict(zip(example.model.classes_.tolist(), each, strict=True))}
        for label, each in zip(labels.tolist(), likelihoods.tolist(), strict=True)
    ]


@pytest.mark.parametrize("name", examples.NAMES)
def test_every_row_of_the_real_data_is_an_input(built_examples: dict[str, Example], name: str) -> None:
    example = built_examples[name]
    signature = Signature.from_example(example.input_example)
    for row in example.rows:
        signature.check(row)
    assert len(example.rows) == {"binary_classifier": 569, "quadratic_predictor": 150, "digits_classifier": 1797}[name]
    assert json.loads(json.dumps(example.metadata, allow_nan=False)) == example.metadata


@pytest.mark.parametrize("name", examples.NAMES)
def test_a_batch_of_all_rows_is_predicted_as_the_model_itself_does(
    built_examples: dict[str, Example], loaded: dict[str, Model], name: str
) -> None:
    example = built_examples[name]
    assert loaded[name].predict(example.rows) == expected(example)


@pytest.mark.parametrize("name", EACH_MANY_TIMES)
def test_each_row_alone_is_predicted_bit_for_bit_as_in_the_batch(
    built_examples: dict[str, Example], loaded: dict[str, Model], name: str
) -> None:
    example, model = built_examples[name], loaded[name]
    # Two hundred at the most, from all over the data: a call for each row takes the digits seconds.
    each = slice(None, None, 1 + len(example.rows) // 200)
    assert [model.predict([row])[0] for row in example.rows[each]] == model.predict(example.rows)[each]


@pytest.mark.parametrize("size", [2, 7, 64])
@pytest.mark.parametrize("name", EACH_MANY_TIMES)
def test_batches_of_any_size_are_predicted_alike(
    built_examples: dict[str, Example], loaded: dict[str, Model], name: str, size: int
) -> None:
    example, model = built_examples[name], loaded[name]
    rows = example.rows[:200]
    batches = [model.predict(rows[start : start + size]) for start in range(0, len(rows), size)]
    assert [answer for batch in batches for answer in batch] == model.predict(rows)


@pytest.mark.parametrize("name", EACH_MANY_TIMES)
def test_two_builds_are_the_same_model(built_examples: dict[str, Example], name: str) -> None:
    example, again = built_examples[name], examples.build(name)
    assert example.metadata == again.metadata
    assert expected(example) == expected(again)


@pytest.mark.parametrize(("name", "accuracy"), [("binary_classifier", 0.93), ("digits_classifier", 0.95)])
def test_classifiers_are_right_about_rows_that_they_have_not_seen(
    built_examples: dict[str, Example], name: str, accuracy: float
) -> None:
    assert accuracy < built_examples[name].metadata["test_accuracy"] < 1


def test_the_parabola_fits_the_flowers(built_examples: dict[str, Example], loaded: dict[str, Model]) -> None:
    assert built_examples["quadratic_predictor"].metadata["mean_absolute_error_cm"] < 0.2
    (width_cm,) = loaded["quadratic_predictor"].predict([2.5])
    assert 0.5 < width_cm < 1.0


def test_the_input_of_the_readme_works(loaded: dict[str, Model]) -> None:
    (answer,) = loaded["binary_classifier"].predict([[0.5, 0.8, 0.2]])
    assert set(answer) == {"label", "probabilities"}
    assert answer["label"] in answer["probabilities"]
    assert set(answer["probabilities"]) == {"benign", "malignant"}
    assert sum(answer["probabilities"].values()) == pytest.approx(1)


def test_there_are_no_other_examples() -> None:
    with pytest.raises(ValueError, match="no example 'x'; there are binary_classifier, quadratic_predictor, digits"):
        examples.build("x")


@pytest.mark.parametrize("name", examples.NAMES)
def test_an_example_can_be_registered(built_examples: dict[str, Example], round_trip: RoundTrip, name: str) -> None:
    example = built_examples[name]
    version = round_trip.register(
        example.model, name, input_example=example.input_example, runtime=example.runtime,
        runtime_options=example.runtime_options, metadata=example.metadata,
    )  # fmt: skip
    assert version.runtime == runtimes.guess(example.model)
    assert dict(example.metadata).items() <= version.metadata.items()


@pytest.mark.slow
def test_an_empty_registry_is_filled_once(data_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    migrate.upgrade()
    for _ in range(2):
        assert main(["--if-empty", "--deploy"]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[-1] == "The registry has models already; nothing to do."
    assert sum(line.startswith("Registered ") for line in said) == 3
    with default_database().session() as session:
        models = versions.list_models(session)
        assert {model.name: model.version_count for model in models} == dict.fromkeys(examples.NAMES, 1)
        served = deployments.desired(session)
    assert {each.endpoint_name for each in served} == {f"{name}-v1" for name in DEPLOYED}
    default_database().close()


def test_without_the_tables_the_command_says_what_to_do(data_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--if-empty"]) == 1
    assert "queuecast migrate" in capsys.readouterr().err
    default_database().close()
