"""Made-up requests to every described route: none is a server error, and every answer is as described.

What the document calls valid and what it calls invalid, the same requests each time, to the app in this process.
"""

from __future__ import annotations

import shutil
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from flask import Flask
from hypothesis import HealthCheck, assume, given
from hypothesis import settings as bounded_by
from schemathesis import APIOperation, Case, GenerationMode
from schemathesis.checks import (
    negative_data_rejection,
    not_a_server_error,
    positive_data_acceptance,
    response_schema_conformance,
)
from schemathesis.specs.openapi.schemas import OpenApiSchema

from api.app import create_app
from api.http.route import operations_of
from api.settings import ApiSettings
from registry import deployments
from registry.artifacts.store import ArtifactStore
from registry.database import Database
from tests.api.conftest import MAX_BYTES, Client, register
from tests.api.stand_in_worker import StandInWorker

pytestmark = pytest.mark.slow

#: What is deployed: for each endpoint an input that its model takes.
ENDPOINTS: dict[str, Any] = {
    "vectors": [1.0, 2.0],
    "numbers": 5,
    "tables": [[1, 2], [3, 4]],
    "records": {"name": "Ada", "age": 42.0, "pair": [True, False]},
}
FIXED = {name.replace(".", "_"): operation for name, operation in operations_of(create_app()).items()}
#: Their bodies are valid only together with what is registered and deployed.
BEYOND_SCHEMAS = {
    "aliases_move_alias",
    "journal_forget_jobs",
    "journal_forget_jobs_of_endpoint",
    "keys_create_key",
    "deployments_configure_deployment",
    "deployments_deploy",
    "deployments_roll_back",
    "evaluations_create_evaluation",
    "models_register",
    "rollouts_start_rollout",
    "predictions_predict_endpoint",
    "predictions_predict_many",
    "retries_retry_job",
    "predictions_predict_model",
    "v2_infer",
    "v2_infer_of_version",
    "v2_load",
    "v2_unload",
    "webhooks_subscribe",
}
#: These take texts in their addresses, or nothing: nothing that they are told is invalid.
NEVER_INVALID = {name for name, operation in FIXED.items() if not (operation.body or operation.query)}
#: These wait for a worker, and there is none that does anything.
UNANSWERED = {"v2_infer", "v2_infer_of_version", "v2_load"}
#: These are taken apart into events or lines before they are held against the schema.
STREAMS = {"events_stream_events", "journal_read_journal"}
bounded = bounded_by(
    max_examples=10, derandomize=True, database=None, deadline=None, suppress_health_check=list(HealthCheck)
)


@pytest.fixture
def settings() -> ApiSettings:
    """Nothing waits for a worker that isn't there."""
    return ApiSettings(
        max_body_bytes=MAX_BYTES,
        max_artifact_bytes=MAX_BYTES,
        max_wait_s=0.01,
        deployment_cache_s=0,
        event_stream_s=0.01,
    )


@pytest.fixture(scope="module")
def deployed_file(migrated_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An SQLite file with all endpoints; tests copy it."""
    folder = tmp_path_factory.mktemp("deployed")
    database = Database(f"sqlite:///{shutil.copy(migrated_file, folder / 'registry.db')}")
    with database.session() as session:
        for name, example in ENDPOINTS.items():
            register(session, ArtifactStore(str(folder / "artifacts")), name, input_example=example)
            deployments.deploy(session, name, endpoint_name=name)
        session.commit()
    database.close()
    return folder / "registry.db"


@pytest.fixture
def schema(app: Flask, data_dir: Path, deployed_file: Path) -> OpenApiSchema:
    shutil.copy(deployed_file, data_dir / "registry.db")
    return schemathesis.openapi.from_wsgi("/openapi.json", app)


def send(operation: APIOperation, mode: GenerationMode, known: dict[str, str]) -> dict[int, int]:
    """Send made-up requests, half of them about what there is; return how often each status was answered."""
    there = {name: value for name, value in known.items() if f"{{{name}}}" in operation.path}
    cases = operation.as_strategy(generation_mode=mode)
    if there:
        cases |= operation.as_strategy(generation_mode=mode, path_parameters=there)
    operation_id = operation.definition.raw["operationId"]
    excluded = [positive_data_acceptance] if operation_id in BEYOND_SCHEMAS else []
    excluded += [not_a_server_error] if operation_id in UNANSWERED else []
    excluded += [response_schema_conformance] if operation_id in STREAMS else []
    numbers = count()
    answered: dict[int, int] = {}

    @bounded
    @given(cases)
    def sent(case: Case) -> None:
        # /models/stats and /v2/models/stats are routes of their own; no model can have this name.
        assume("stats" not in (case.path_parameters or {}).values())
        if "Idempotency-Key" in (case.headers or {}):
            # The same key with another body is a conflict, which no schema can say.
            case.headers["Idempotency-Key"] = f"{case.headers['Idempotency-Key'][:200]}{next(numbers)}"
        if isinstance(case.body, dict) and mode is GenerationMode.POSITIVE:
            # Where webhooks may go is a setting, which no schema can say.
            case.body.pop("callback_url", None)
        response = case.call()
        answered[response.status_code] = answered.get(response.status_code, 0) + 1
        # A body that is too large is refused as such, whatever else is wrong with it.
        too_large = [negative_data_rejection] if response.status_code == 413 else []
        case.validate_response(response, excluded_checks=excluded + too_large)

    sent()
    return answered


@pytest.fixture
def known(schema: OpenApiSchema, client: Client, worker: StandInWorker) -> dict[str, str]:
    """What path parameters name something that there is."""
    client.submit("vectors")
    ended = client.submit("vectors")
    worker.succeed(ended, "vectors", 3)
    lost = client.submit("vectors")
    worker.give_up(lost, "vectors", "killed by signal 9")
    worker.report(client.get("/deployments/vectors").json)
    return {"job_id": lost, "endpoint_name": "vectors", "model_name": "vectors", "name": "vectors", "version": "1"}


@pytest.mark.parametrize("operation_id", sorted(FIXED))
def test_what_the_document_calls_valid_is_answered_as_described(
    schema: OpenApiSchema, known: dict[str, str], operation_id: str
) -> None:
    assert send(schema.find_operation_by_id(operation_id), GenerationMode.POSITIVE, known)


@pytest.mark.parametrize("operation_id", sorted(FIXED.keys() - NEVER_INVALID))
def test_what_the_document_calls_invalid_is_refused_as_described(
    schema: OpenApiSchema, known: dict[str, str], operation_id: str
) -> None:
    assert send(schema.find_operation_by_id(operation_id), GenerationMode.NEGATIVE, known)


@pytest.mark.parametrize("name", ENDPOINTS)
def test_an_endpoint_takes_every_input_that_its_schema_allows_and_no_other(schema: OpenApiSchema, name: str) -> None:
    operation = schema[f"/predict/{name}"]["POST"]
    assert send(operation, GenerationMode.POSITIVE, {}).keys() == {202}
    assert 422 in send(operation, GenerationMode.NEGATIVE, {})
