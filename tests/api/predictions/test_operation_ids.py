"""Ids of operations: what generators of clients make of them must not collide."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.predictions.operation_ids import of_endpoints
from tests.api.conftest import Client

ALIKE = ["a-b", "a_b", "a.b", "A-B", "A_B", "aB", "ab", "AB"]
FIXED = ["predictions_predict_many", "jobs_show_job"]


def snake_case(operation_id: str) -> str:
    """As openapi-python-client names modules: words of signs, of changes of case and of digits, with _ in between."""
    words = re.sub(r"([A-Z]{2,})([A-Z][a-z]|[ -_]|$)", lambda found: found[1] + " " + found[2], operation_id)
    words = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", words)
    return "_".join(re.findall(r"[\w]+", words.replace("_", " "))).lower()


def camel_case(operation_id: str) -> str:
    """As openapi-generator names methods: signs are dropped, and what follows one is capital."""
    words = [word for word in re.split(r"[^A-Za-z0-9]+", operation_id) if word]
    return words[0][0].lower() + words[0][1:] + "".join(word[0].upper() + word[1:] for word in words[1:])


def assert_distinct(ids: list[str]) -> None:
    for normalised in (snake_case, camel_case):
        # File systems and some languages don't tell capitals apart.
        assert len({normalised(each).lower() for each in ids}) == len(ids), normalised.__name__


def test_names_that_differ_only_in_signs_and_case_stay_apart_in_generated_clients() -> None:
    ids = of_endpoints(ALIKE, FIXED)
    assert_distinct([*ids.values(), *FIXED])
    assert ids["a_b"] == "predict_a_b"


def test_an_id_does_not_depend_on_what_else_is_there_unless_that_has_the_plain_one() -> None:
    assert of_endpoints(["quad-v1"], FIXED) == {"quad-v1": "predict_quad_v1"}
    both = of_endpoints(["quad-v1", "quad.v1", "other"], FIXED)
    assert both["quad-v1"] == "predict_quad_v1"
    assert of_endpoints(["quad_v1", "quad.v1"], FIXED)["quad.v1"] == both["quad.v1"] != "predict_quad_v1"


def test_no_endpoint_takes_the_id_of_a_fixed_operation() -> None:
    ids = of_endpoints(["ions_predict_many"], FIXED)
    assert_distinct([*ids.values(), *FIXED])


@pytest.mark.slow
@given(st.lists(st.from_regex(r"[a-bA-B][a-bA-B0-1._-]{0,4}", fullmatch=True), unique=True, max_size=12))
def test_ids_are_distinct_whatever_the_names(names: list[str]) -> None:
    ids = of_endpoints(names, FIXED)
    assert set(ids) == set(names)
    assert_distinct([*ids.values(), *FIXED])


def test_the_document_has_distinct_ids(client: Client) -> None:
    client.register("adder")
    for name in ALIKE:
        client.deploy(name, "adder")
    found: dict[str, Any] = client.get("/openapi.json").json
    assert_distinct([each["operationId"] for methods in found["paths"].values() for each in methods.values()])
