"""The OpenAPI document: valid, complete, and in step with what is deployed."""

from __future__ import annotations

import inspect
import json
import re
from typing import Any

import pytest
from flask import Flask
from jsonschema import ValidationError
from openapi_spec_validator import OpenAPIV31SpecValidator

from api.http.route import operations_of
from api.http.schema import NoQuery
from tests.api.conftest import Client, View
from tests.api.described_client import PAGES, validator

#: Addresses for browsers and probes of other kinds; everything else is described.
NOT_DESCRIBED = {"docs.docs", "docs.home", "v2.unsupported"}


def document(client: Client) -> dict[str, Any]:
    answer = client.get("/openapi.json")
    assert (answer.status_code, answer.mimetype) == (200, "application/json")
    found: dict[str, Any] = answer.json
    return found


def body_schema(found: dict[str, Any], path: str) -> dict[str, Any]:
    schema: dict[str, Any] = found["paths"][path]["post"]["requestBody"]["content"]["application/json"]["schema"]
    return schema


@pytest.mark.slow
def test_the_document_is_valid_openapi_3_1_with_and_without_endpoints(client: Client) -> None:
    empty = document(client)
    assert empty["openapi"].startswith("3.1.")
    OpenAPIV31SpecValidator(empty).validate()
    client.register()
    client.register("text", input_example={"words": ["a", "b"], "length": 3}, version="b.1-x")
    client.register("blind", input_example=None, signature={"kind": "scalar", "dtype": "int"})
    fields = {
        "age": {"dtype": "int32", "nullable": True, "required": False},
        "pair": {"dtype": "float32", "shape": [2], "nullable": True},
        "colour": {"dtype": "str", "categories": ["red", "blue"], "nullable": True},
    }
    example = {"pair": [1.0, None], "colour": None}
    client.register("gaps", input_example=example, signature={"kind": "named", "fields": fields})
    for name, model in (("adding", "adder"), ("reading", "text"), ("blind", "blind"), ("gaps", "gaps")):
        client.deploy(name, model)
    OpenAPIV31SpecValidator(document(client)).validate()


def test_every_route_is_described_or_left_out_on_purpose(app: Flask) -> None:
    routes = {rule.endpoint for rule in app.url_map.iter_rules() if not rule.endpoint.startswith(PAGES)}
    described = operations_of(app).keys()
    assert routes == described | NOT_DESCRIBED
    assert not described & NOT_DESCRIBED


def test_a_route_reads_the_schemas_that_it_declares(app: Flask) -> None:
    for name, operation in operations_of(app).items():
        source = inspect.getsource(app.view_functions[name])
        for reader, declared in (("body", operation.body), ("query", operation.query or NoQuery)):
            for read in re.findall(rf"(?<![.\w]){reader}\((\w+)\)", source):
                assert declared is not None, name
                assert read == declared.__name__, name


def test_every_description_can_be_read_by_people(client: Client) -> None:
    found = document(client)
    tags = {tag["name"] for tag in found["tags"]}
    ids = []
    for path, methods in found["paths"].items():
        for operation in methods.values():
            ids.append(operation["operationId"])
            assert re.fullmatch(r"[A-Z].+\.", operation["summary"]), path
            assert set(operation["tags"]) <= tags
            for answer in operation["responses"].values():
                assert answer["description"]
    assert len(ids) == len(set(ids))
    assert all("description" in schema for schema in found["components"]["schemas"].values() if "enum" not in schema)


def test_every_example_of_a_body_fits_its_schema(client: Client, adding: View) -> None:
    examples = 0
    for methods in document(client)["paths"].values():
        for operation in methods.values():
            for content in operation.get("requestBody", {}).get("content", {}).values():
                example = content["example"]
                if "artifact" in content["schema"].get("properties", {}):
                    example = {"artifact": "…", **example}
                validator(content["schema"]).validate(example)
                examples += 1
    assert examples >= 6


def test_a_deployed_endpoint_is_a_path_with_its_schema_and_an_example_that_works(client: Client, adding: View) -> None:
    found = document(client)
    operation = found["paths"]["/predict/adding"]["post"]
    content = operation["requestBody"]["content"]["application/json"]
    assert operation["tags"] == ["Endpoints"]
    assert "adder, version 1" in operation["summary"]
    assert content["example"] == {"input": [1.0, 2.0]}
    assert client.post("/predict/adding", json=content["example"]).status_code == 202
    assert operation["responses"].keys() == found["paths"]["/predict/{endpoint_name}"]["post"]["responses"].keys()
    assert [each["name"] for each in operation["parameters"]].count("endpoint_name") == 0


@pytest.mark.parametrize(
    ("body", "fits"),
    [
        ({"input": [1, 2.5]}, True),
        ({"inputs": [[1, 2], [3, 4]]}, True),
        ({"input": [1]}, False),
        ({"input": [1, "2"]}, False),
        ({"input": [1, True]}, False),
        ({"inputs": []}, False),
        ({"inputs": [[1]]}, False),
        ({}, False),
        ({"input": [1, 2], "inputs": [[1, 2]]}, False),
        ({"input": [1, 2], "colour": "red"}, False),
    ],
)
def test_an_endpoints_schema_says_what_the_endpoint_takes(client: Client, adding: View, body: Any, fits: bool) -> None:
    checked = validator(body_schema(document(client), "/predict/adding"))
    assert client.post("/predict/adding", json=body).status_code == (202 if fits else 422)
    if fits:
        checked.validate(body)
    else:
        with pytest.raises(ValidationError):
            checked.validate(body)


def test_an_endpoint_without_an_example_has_a_schema_all_the_same(client: Client) -> None:
    client.register(input_example=None, signature={"kind": "vector", "dtype": "int"})
    client.deploy()
    content = document(client)["paths"]["/predict/adding"]["post"]["requestBody"]["content"]["application/json"]
    assert "example" not in content
    assert content["schema"]["properties"]["input"]["items"]["type"] == "integer"


@pytest.mark.parametrize("backlog", ["drain", "reject", "park"])
def test_an_endpoint_is_gone_after_undeploy_and_back_after_deploy(client: Client, adding: View, backlog: str) -> None:
    client.submit()
    client.post("/deployments/undeploy", json={"endpoint_name": "adding", "backlog": backlog})
    assert "/predict/adding" not in document(client)["paths"]
    client.deploy()
    assert "/predict/adding" in document(client)["paths"]


def test_a_swap_to_another_version_shows_its_schema(client: Client, adding: View) -> None:
    client.register(input_example="text", version="2")
    client.deploy("adding", version="2")
    found = document(client)
    assert body_schema(found, "/predict/adding")["properties"]["input"]["type"] == "string"
    assert found["paths"]["/predict/adding"]["post"]["summary"] == "Predict with adder, version 2."


def test_the_document_is_never_cached(client: Client) -> None:
    assert client.get("/openapi.json").headers["Cache-Control"] == "no-store"


def test_requests_as_the_document_describes_them_name_every_field(client: Client) -> None:
    schemas = document(client)["components"]["schemas"]
    for name in ("Prediction", "ModelPrediction", "Deploy", "Undeploy", "Registration"):
        assert schemas[name]["additionalProperties"] is False, name
    rows, auto, default = schemas["Deploy"]["properties"]["max_batch_size"]["anyOf"]
    assert (rows["maximum"], auto["const"], default["type"]) == (4096, "auto", "null")
    assert json.dumps(schemas["Deploy"]["required"]) == '["model_name"]'


def test_a_query_parameter_is_never_null(client: Client) -> None:
    parameters = document(client)["paths"]["/jobs"]["get"]["parameters"]
    schemas = {each["name"]: each["schema"] for each in parameters}
    assert schemas["endpoint_name"]["type"] == "string"
    assert schemas["status"]["enum"][0] == "queued"
    assert "null" not in json.dumps(parameters)


def undescribed(schema: Any, where: str) -> list[str]:
    """Where a property of a schema, at any depth, has no description; `oneOf` of an object only repeats its own."""
    if isinstance(schema, list):
        return [each for item in schema for each in undescribed(item, where)]
    if not isinstance(schema, dict):
        return []
    properties = schema.get("properties", {})
    found = [f"{where}.{name}" for name, each in properties.items() if not each.get("description")]
    for name, each in properties.items():
        found += undescribed(each, f"{where}.{name}")
    for name in ("items", "anyOf", "allOf", "additionalProperties", *(() if properties else ("oneOf",))):
        found += undescribed(schema.get(name), where)
    return found


def undescribed_of(operation: dict[str, Any], where: str) -> list[str]:
    """Where a parameter or a field of a body of an operation has no description."""
    found = [f"{where} ?{each['name']}" for each in operation.get("parameters", []) if not each.get("description")]
    bodies = [operation.get("requestBody", {}), *operation["responses"].values()]
    for schema in (content.get("schema") for body in bodies for content in body.get("content", {}).values()):
        found += undescribed(schema, where)
    return found


def test_every_field_of_every_schema_is_described(client: Client) -> None:
    client.register()
    client.deploy("adding")
    found = document(client)
    schemas = found["components"]["schemas"]
    assert [each for name, schema in schemas.items() for each in undescribed(schema, name)] == []
    operations = [(path, how, each) for path, item in found["paths"].items() for how, each in item.items()]
    assert [each for path, how, item in operations for each in undescribed_of(item, f"{how} {path}")] == []
    assert len(schemas) > 30
    assert len(operations) > 30
