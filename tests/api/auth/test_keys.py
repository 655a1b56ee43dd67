"""API keys at the HTTP API: who may do what, whose jobs are seen, how often, and what a revoked key is worth."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from flask import Blueprint, Flask
from sqlalchemy import event

from api.app import create_app
from api.auth import guard
from api.errors import KeysNeeded, SettingsWrong
from api.http.route import access_of, operations_of
from api.process import services
from api.process.registry_cache import RegistryCache
from api.settings import ApiSettings, AuthMode
from registry.access import api_keys
from registry.access.api_keys import Role
from registry.database import Database, default_database
from tests.api.conftest import MAX_BYTES, Client, View
from tests.api.described_client import PAGES, Answer
from tests.api.stand_in_worker import StandInWorker
from tests.support.service.ports import free_port
from tests.support.waiting import eventually
from workers import keys as redis_keys
from workers.platform.redis.client import connect, records_client

#: What each route needs; `None` is open to all.
ROLES: dict[str, Role | None] = {
    "predictions.predict_endpoint": Role.CLIENT,
    "predictions.show_endpoint": Role.CLIENT,
    "predictions.predict_model": Role.CLIENT,
    "predictions.submit_pipeline": Role.CLIENT,
    "jobs.show_job": Role.CLIENT,
    "jobs.cancel_job": Role.CLIENT,
    "jobs.list_jobs": Role.CLIENT,
    "jobs.look_up_jobs": Role.CLIENT,
    "jobs.cancel_queued_jobs": Role.CLIENT,
    "retries.show_input": Role.CLIENT,
    "retries.retry_job": Role.CLIENT,
    "journal.give_feedback": Role.CLIENT,
    "journal.give_much_feedback": Role.CLIENT,
    "journal.read_journal": Role.OPERATOR,
    "journal.show_kept": Role.OPERATOR,
    "journal.forget_jobs_of_endpoint": Role.ADMIN,
    "journal.forget_jobs": Role.ADMIN,
    "monitoring.show_quality": Role.OPERATOR,
    "monitoring.show_drift": Role.OPERATOR,
    "evaluations.create_evaluation": Role.OPERATOR,
    "evaluations.list_evaluations": Role.OPERATOR,
    "evaluations.show_evaluation": Role.OPERATOR,
    "evaluations.remove_evaluation": Role.OPERATOR,
    "webhooks.list_deliveries": Role.CLIENT,
    "webhooks.show_delivery": Role.CLIENT,
    "webhooks.redeliver": Role.OPERATOR,
    "webhooks.subscribe": Role.OPERATOR,
    "webhooks.list_subscriptions": Role.OPERATOR,
    "webhooks.unsubscribe": Role.OPERATOR,
    "events.stream_events": Role.CLIENT,
    "events.link_events": Role.CLIENT,
    "openapi.openapi": Role.CLIENT,
    "deployments.deploy": Role.OPERATOR,
    "deployments.undeploy": Role.OPERATOR,
    "deployments.configure_deployment": Role.OPERATOR,
    "deployments.show_history": Role.OPERATOR,
    "deployments.roll_back": Role.OPERATOR,
    "deployments.list_deployments": Role.OPERATOR,
    "deployments.show_deployment": Role.OPERATOR,
    "deployments.show_stats": Role.OPERATOR,
    "dead_letters.list_dead_letters": Role.OPERATOR,
    "dead_letters.show_dead_letter": Role.OPERATOR,
    "dead_letters.replay_dead_letter": Role.OPERATOR,
    "dead_letters.discard_dead_letter": Role.OPERATOR,
    "models.list_models": Role.OPERATOR,
    "models.show_stats": Role.OPERATOR,
    "rollouts.start_rollout": Role.OPERATOR,
    "rollouts.show_rollout": Role.OPERATOR,
    "rollouts.list_rollouts": Role.OPERATOR,
    "rollouts.pause_rollout": Role.OPERATOR,
    "rollouts.resume_rollout": Role.OPERATOR,
    "rollouts.promote_rollout": Role.OPERATOR,
    "rollouts.abort_rollout": Role.OPERATOR,
    "rollouts.start_shadow": Role.OPERATOR,
    "rollouts.show_shadow": Role.OPERATOR,
    "rollouts.stop_shadow": Role.OPERATOR,
    "aliases.list_aliases": Role.OPERATOR,
    "aliases.show_alias": Role.OPERATOR,
    "aliases.show_alias_history": Role.OPERATOR,
    "aliases.move_alias": Role.OPERATOR,
    "aliases.delete_alias": Role.OPERATOR,
    "aliases.tag_model": Role.OPERATOR,
    "aliases.tag_version": Role.OPERATOR,
    "models.show_model": Role.OPERATOR,
    "models.show_version": Role.OPERATOR,
    "models.register": Role.ADMIN,
    "models.delete_version": Role.ADMIN,
    "artifacts.prune": Role.ADMIN,
    "console.artifacts.review_prune": Role.ADMIN,
    "console.artifacts.prune": Role.ADMIN,
    "keys.create_key": Role.ADMIN,
    "keys.list_keys": Role.ADMIN,
    "keys.revoke_key": Role.ADMIN,
    "predictions.predict_many": Role.CLIENT,
    "v2.server": Role.CLIENT,
    "v2.model": Role.CLIENT,
    "v2.model_of_version": Role.CLIENT,
    "v2.model_ready": Role.CLIENT,
    "v2.model_ready_of_version": Role.CLIENT,
    "v2.config": Role.CLIENT,
    "v2.config_of_version": Role.CLIENT,
    "v2.infer": Role.CLIENT,
    "v2.infer_of_version": Role.CLIENT,
    "v2.unsupported": Role.CLIENT,
    "v2.stats": Role.OPERATOR,
    "v2.model_stats": Role.OPERATOR,
    "v2.model_stats_of_version": Role.OPERATOR,
    "v2.index": Role.OPERATOR,
    "v2.load": Role.OPERATOR,
    "v2.unload": Role.OPERATOR,
    "v2.live": None,
    "v2.ready": None,
    "metrics.show_metrics": Role.OPERATOR,
    "health.live": None,
    "health.ready": None,
    "docs.docs": None,
    "docs.home": None,
    "console.overview.home": Role.CLIENT,
    "console.overview.file": None,
    "console.overview.nothing": Role.CLIENT,
    "console.entrance.login_form": None,
    "console.entrance.log_in": None,
    "console.entrance.log_out": None,
    "console.deployments.show_deployment": Role.OPERATOR,
    "console.history.show_history": Role.OPERATOR,
    "console.rollouts.new_rollout": Role.OPERATOR,
    "console.rollouts.start": Role.OPERATOR,
    "console.shadows.show_shadow": Role.OPERATOR,
    "console.shadows.new_shadow": Role.OPERATOR,
    "console.shadows.start": Role.OPERATOR,
    "console.shadows.review_stop": Role.OPERATOR,
    "console.shadows.stop": Role.OPERATOR,
    "console.evaluations.list_evaluations": Role.OPERATOR,
    "console.evaluations.new_evaluation": Role.OPERATOR,
    "console.evaluations.begin": Role.OPERATOR,
    "console.evaluations.show_evaluation": Role.OPERATOR,
    "console.evaluations.remove": Role.OPERATOR,
    "console.history.review_rollback": Role.OPERATOR,
    "console.history.roll_back": Role.OPERATOR,
    "console.deployments.deploy_form": Role.OPERATOR,
    "console.deployments.review_deploy": Role.OPERATOR,
    "console.deployments.review_typed_deploy": Role.OPERATOR,
    "console.deployments.deploy": Role.OPERATOR,
    "console.deployments.settings_form": Role.OPERATOR,
    "console.deployments.review_settings": Role.OPERATOR,
    "console.deployments.configure": Role.OPERATOR,
    "console.deployments.review_undeploy": Role.OPERATOR,
    "console.deployments.undeploy": Role.OPERATOR,
    "console.models.list_models": Role.OPERATOR,
    "console.rollouts.show_rollout": Role.OPERATOR,
    "console.rollouts.review_transition": Role.OPERATOR,
    "console.rollouts.steer": Role.OPERATOR,
    "console.aliases.show_alias": Role.OPERATOR,
    "console.aliases.review_move": Role.OPERATOR,
    "console.aliases.move": Role.OPERATOR,
    "console.aliases.review_delete": Role.OPERATOR,
    "console.aliases.delete": Role.OPERATOR,
    "console.models.show_model": Role.OPERATOR,
    "console.models.review_delete": Role.ADMIN,
    "console.models.delete_version": Role.ADMIN,
    "console.registering.ask": Role.ADMIN,
    "console.registering.register": Role.ADMIN,
    "console.keys.list_keys": Role.ADMIN,
    "console.keys.ask": Role.ADMIN,
    "console.keys.create": Role.ADMIN,
    "console.keys.review_revoke": Role.ADMIN,
    "console.keys.revoke": Role.ADMIN,
    "console.docs.page": Role.CLIENT,
    "console.webhooks.list_deliveries": Role.CLIENT,
    "console.webhooks.show_delivery": Role.CLIENT,
    "console.webhooks.redeliver": Role.OPERATOR,
    "console.jobs.list_jobs": Role.CLIENT,
    "console.jobs.show_job": Role.CLIENT,
    "console.jobs.review_cancel": Role.CLIENT,
    "console.jobs.cancel": Role.CLIENT,
    "console.jobs.redeliver": Role.OPERATOR,
    "console.jobs.retry": Role.CLIENT,
    "console.emptying.review": Role.OPERATOR,
    "console.emptying.cancel": Role.OPERATOR,
    "console.dead_letters.list_letters": Role.OPERATOR,
    "console.dead_letters.show_letter": Role.OPERATOR,
    "console.dead_letters.review_replay": Role.OPERATOR,
    "console.dead_letters.replay": Role.OPERATOR,
    "console.dead_letters.review_discard": Role.OPERATOR,
    "console.dead_letters.discard": Role.OPERATOR,
    "console.trying.list_endpoints": Role.CLIENT,
    "console.trying.try_form": Role.CLIENT,
    "console.trying.submit": Role.CLIENT,
}


@pytest.fixture
def settings() -> ApiSettings:
    return ApiSettings(
        max_body_bytes=MAX_BYTES,
        max_artifact_bytes=MAX_BYTES,
        deployment_cache_s=0,
        auth=AuthMode.ON,
        api_key_cache_s=0,
    )


class Keys:
    """Makes keys next to the database, as the command line does."""

    def __call__(self, name: str = "shop", role: Role = Role.CLIENT, **limits: Any) -> dict[str, str]:
        """Return the headers of a request with a new key."""
        return {"Authorization": f"Bearer {self.text(name, role, **limits)}"}

    def text(self, name: str, role: Role, **limits: Any) -> str:
        with default_database().session() as session:
            _, text = api_keys.create(session, name, role, **limits)
            session.commit()
        return text

    def revoke(self, name: str) -> None:
        with default_database().session() as session:
            api_keys.revoke(session, name)
            session.commit()


@pytest.fixture
def make(app: Flask) -> Keys:
    return Keys()


@pytest.fixture
def adding(make: Keys, client: Client) -> View:
    """The endpoint "adding"."""
    client.register()
    wanted = {"endpoint_name": "adding", "model_name": "adder"}
    answer = client.post("/deployments/deploy", json=wanted, headers=make("deployer", Role.OPERATOR))
    assert answer.status_code == 202
    view: View = answer.json
    return view


def submitted(client: Client, key: dict[str, str], **more: Any) -> str:
    answer = client.post("/predict/adding", json={"input": [1, 2]}, headers={**key, **more})
    assert answer.status_code == 202, answer.text
    return str(answer.json["job_id"])


def code_of(answer: Answer) -> tuple[int, str]:
    return answer.status_code, answer.json["code"]


def test_every_route_declares_its_role_and_the_table_says_which(app: Flask) -> None:
    routes = {rule.endpoint for rule in app.url_map.iter_rules()}
    assert {name: access_of(app, name).role for name in routes} == ROLES


def test_a_route_without_a_role_answers_nobody(app: Flask, settings: ApiSettings, make: Keys) -> None:
    own_app = create_app(settings)
    forgotten = Blueprint("forgotten", __name__)
    forgotten.get("/forgotten")(lambda: "secret")
    own_app.register_blueprint(forgotten)
    answer = own_app.test_client().get("/forgotten", headers=make("me", Role.ADMIN))
    assert (answer.status_code, answer.get_json()["code"]) == (403, "role_insufficient")
    routes = own_app.url_map.iter_rules()
    with pytest.raises(LookupError, match="forgotten"):
        access_of(own_app, next(rule.endpoint for rule in routes if rule.rule == "/forgotten"))


def requests_of(app: Flask) -> list[tuple[str, str, str]]:
    """Endpoint, method and an address of every route."""
    return [
        (
            rule.endpoint,
            method,
            app.url_map.bind("").build(rule.endpoint, dict.fromkeys(rule.arguments, "none"), method),
        )
        for rule in app.url_map.iter_rules()
        for method in sorted((rule.methods or set()) - {"HEAD", "OPTIONS"})
    ]


@pytest.mark.parametrize("role", [None, *Role])
def test_each_role_comes_as_far_as_the_table_says(app: Flask, client: Client, make: Keys, role: Role | None) -> None:
    headers = make("me", role) if role else {}
    for endpoint, method, address in requests_of(app):
        if endpoint.startswith(PAGES):
            continue  # there a cookie counts, and no key: tests/api/auth/test_sessions.py
        answer = client.open(address, method=method, headers=headers)
        needed = ROLES[endpoint]
        if needed is None or (role is not None and role.includes(needed)):
            assert answer.status_code not in (401, 403), (endpoint, answer.text)
        elif role is None:
            assert code_of(answer) == (401, "api_key_missing"), endpoint
            assert answer.headers["WWW-Authenticate"] == "Bearer"
        else:
            assert code_of(answer) == (403, "role_insufficient"), endpoint
            assert answer.json["needed"] == needed.value
            assert needed.value in answer.json["detail"]


@pytest.mark.parametrize(
    ("header", "code"),
    [
        ("", "api_key_missing"),
        ("Basic abc", "api_key_missing"),
        ("Bearer", "api_key_invalid"),
        ("Bearer ", "api_key_invalid"),
        ("Bearer qc_00000000_" + "A" * 43, "api_key_invalid"),
        ("Bearer " + "x" * 10_000, "api_key_invalid"),
        ("Bearer é", "api_key_invalid"),
    ],
)
def test_what_is_no_key_is_refused(client: Client, make: Keys, header: str, code: str) -> None:
    answer = client.get("/jobs", headers={"Authorization": header})
    assert code_of(answer) == (401, code)
    assert "key" in answer.json["detail"]


def test_the_name_of_the_scheme_is_read_in_any_case(client: Client, make: Keys) -> None:
    text = make.text("shop", Role.CLIENT)
    for scheme in ("Bearer", "bearer", "BEARER"):
        assert client.get("/jobs", headers={"Authorization": f"{scheme} {text}"}).status_code == 200


def test_an_address_that_is_not_there_needs_no_key(client: Client) -> None:
    assert code_of(client.get("/nothing")) == (404, "not_found")
    assert code_of(client.delete("/docs")) == (405, "method_not_allowed")


def test_a_client_sees_and_cancels_its_own_jobs_only(client: Client, make: Keys, adding: View) -> None:
    shop, desk, operator = make("shop"), make("desk"), make("operator", Role.OPERATOR)
    mine, theirs = submitted(client, shop), submitted(client, desk)
    assert client.get(f"/jobs/{mine}", headers=shop).json["owner"] == "shop"
    unknown = client.get("/jobs/unknown", headers=shop)
    for answer in (client.get(f"/jobs/{theirs}?wait=5", headers=shop), client.delete(f"/jobs/{theirs}", headers=shop)):
        assert code_of(answer) == code_of(unknown) == (404, "job_not_found")
        assert answer.json["detail"] == unknown.json["detail"].replace("unknown'", f"{theirs}'")
    assert [job["job_id"] for job in client.get("/jobs", headers=shop).json["jobs"]] == [mine]
    assert {job["job_id"] for job in client.get("/jobs", headers=operator).json["jobs"]} == {mine, theirs}
    assert client.get(f"/jobs/{theirs}", headers=operator).json["status"] == "queued"
    for query in ("", "?wait=0.01"):
        found = client.post(f"/jobs/lookup{query}", json={"job_ids": [theirs, mine]}, headers=shop).json
        assert ([job["job_id"] for job in found["jobs"]], found["unknown_job_ids"]) == ([mine], [theirs])
    assert client.delete(f"/jobs/{mine}", headers=shop).json["status"] == "cancelled"
    assert client.delete(f"/jobs/{theirs}", headers=operator).json["owner"] == "desk"


def test_jobs_of_a_bulk_call_and_of_the_inference_protocol_are_the_clients_own_too(
    app: Flask, client: Client, make: Keys, adding: View
) -> None:
    shop, desk = make("shop"), make("desk")
    answer = client.post("/predict/adding/bulk", json=[{"input": [1, 2]}] * 3, headers=shop)
    assert answer.status_code == 202, answer.text
    tensor = {"name": "input", "shape": [1, 2], "datatype": "FP64", "data": [1, 2]}
    wanted = {"inputs": [tensor], "parameters": {"timeout": 1_000}}
    assert client.post("/v2/models/adding/infer", json=wanted, headers=shop).status_code == 504
    found = client.get("/jobs", headers=shop).json["jobs"]
    assert [job["owner"] for job in found] == ["shop"] * 4
    assert client.get("/jobs", headers=desk).json["jobs"] == []


def test_the_inference_protocol_shows_a_limited_client_its_endpoints_only(
    client: Client, make: Keys, adding: View
) -> None:
    own, other = make("own", endpoint_names=["adding"]), make("other", endpoint_names=["else"])
    assert client.get("/v2/models/adding", headers=own).status_code == 200
    answer = client.get("/v2/models/adding", headers=other)
    assert code_of(answer) == (403, "endpoint_forbidden")
    assert answer.json["error"] == answer.json["detail"]


def test_a_client_does_not_see_jobs_of_celery_programs(client: Client, make: Keys, adding: View) -> None:
    from workers.tasks import predict

    job_id = predict.delay("adding", [1, 2]).id
    assert client.get(f"/jobs/{job_id}", headers=make()).status_code == 404
    assert client.get(f"/jobs/{job_id}", headers=make("op", Role.OPERATOR)).json["owner"] is None


def test_an_idempotency_key_is_its_clients_own(client: Client, make: Keys, adding: View) -> None:
    shop, desk = make("shop"), make("desk")
    first = submitted(client, shop, **{"Idempotency-Key": "order-1"})
    assert submitted(client, shop, **{"Idempotency-Key": "order-1"}) == first
    other = submitted(client, desk, **{"Idempotency-Key": "order-1"})
    assert other != first
    assert client.get(f"/jobs/{other}", headers=desk).status_code == 200


def test_an_idempotency_key_of_a_bulk_call_is_its_clients_own_too(client: Client, make: Keys, adding: View) -> None:
    def job_ids(name: dict[str, str]) -> list[str]:
        headers = {**name, "Idempotency-Key": "orders-1"}
        found = client.post("/predict/adding/bulk", json=[{"input": [1, 2]}] * 2, headers=headers)
        assert found.status_code == 202, found.text
        ids: list[str] = found.json["job_ids"]
        return ids

    shop, desk = make("shop"), make("desk")
    first, others = job_ids(shop), job_ids(desk)
    assert job_ids(shop) == first
    assert not set(first) & set(others)
    found = client.post("/jobs/lookup", json={"job_ids": first + others}, headers=desk).json
    assert [job["job_id"] for job in found["jobs"]] == others


def test_a_replayed_dead_letter_stays_its_clients_job(
    client: Client, make: Keys, adding: View, worker: StandInWorker
) -> None:
    shop, operator = make("shop"), make("operator", Role.OPERATOR)
    body = {"input": [1, 2], "priority": "high"}
    job_id = client.post("/predict/adding", json=body, headers=shop).json["job_id"]
    worker.give_up(job_id, "adding", "killed by signal 9")
    letter = client.get(f"/dead-letters/{job_id}", headers=operator).json
    assert (letter["owner"], letter["priority"]) == ("shop", "high")
    assert client.get("/dead-letters", headers=operator).json["dead_letters"][0]["owner"] == "shop"
    answer = client.post(f"/dead-letters/{job_id}/replay", json={}, headers=operator)
    assert client.get(f"/jobs/{answer.json['job_id']}", headers=shop).json["owner"] == "shop"


def test_a_client_empties_a_queue_of_its_own_jobs_alone(client: Client, make: Keys, adding: View) -> None:
    shop, desk, operator = make("shop"), make("desk"), make("operator", Role.OPERATOR)
    mine, theirs = submitted(client, shop), submitted(client, desk)
    body = {"endpoint_name": "adding"}
    assert client.post("/jobs/cancel", json=body, headers=shop).json["cancelled_count"] == 1
    assert client.get(f"/jobs/{mine}", headers=shop).json["status"] == "cancelled"
    assert client.get(f"/jobs/{theirs}", headers=desk).json["status"] == "queued"
    assert client.post("/jobs/cancel", json={**body, "dry_run": True}, headers=shop).json["matched_count"] == 0
    assert client.post("/jobs/cancel", json=body, headers=operator).json["cancelled_count"] == 1


def test_a_failed_job_is_run_again_by_its_owner_and_operators_alone(
    client: Client, make: Keys, adding: View, worker: StandInWorker
) -> None:
    shop, desk, operator = make("shop"), make("desk"), make("operator", Role.OPERATOR)
    body = {"input": [1, 2], "priority": "high"}
    job_id = client.post("/predict/adding", json=body, headers=shop).json["job_id"]
    worker.fail(job_id, "adding", "no", owner="shop", traceback="Traceback: secret line", keeps_input=True)
    given_up = client.post("/predict/adding", json=body, headers=shop).json["job_id"]
    worker.give_up(given_up, "adding", "killed by signal 9")
    records_client().delete(redis_keys.record(given_up))
    for each in (job_id, given_up):
        for answer in (
            client.get(f"/jobs/{each}", headers=desk),
            client.get(f"/jobs/{each}/input", headers=desk),
            client.post(f"/jobs/{each}/retry", json={}, headers=desk),
            client.post(f"/jobs/{each}/retry", json={"input": [1, 2]}, headers=desk),
        ):
            assert code_of(answer) == (404, "job_not_found")
            assert "secret" not in answer.text
        for caller in (shop, operator):
            assert client.get(f"/jobs/{each}/input", headers=caller).json == {"input": [1, 2]}
            again = client.post(f"/jobs/{each}/retry", json={}, headers=caller).json["job_id"]
            job = client.get(f"/jobs/{again}", headers=shop).json
            assert (job["owner"], job["priority"]) == ("shop", "high" if each == given_up else "normal")


def test_a_client_with_endpoints_uses_and_sees_no_others(client: Client, make: Keys, adding: View) -> None:
    operator = make("operator", Role.OPERATOR)
    client.post("/deployments/deploy", json={"endpoint_name": "other", "model_name": "adder"}, headers=operator)
    key = make("limited", endpoint_names=["adding"])
    assert client.post("/predict/adding", json={"input": [1, 2]}, headers=key).status_code == 202
    for address in ("/predict/other", "/predict/unknown"):
        answer = client.post(address, json={"input": [1, 2]}, headers=key)
        assert code_of(answer) == (403, "endpoint_forbidden")
        assert answer.json["endpoint_names"] == ["adding"]
    paths = client.get("/openapi.json", headers=key).json["paths"]
    assert ("/predict/adding" in paths, "/predict/other" in paths) == (True, False)
    assert "/predict/other" in client.get("/openapi.json", headers=operator).json["paths"]


def test_a_client_needs_every_endpoint_of_a_pipeline(client: Client, make: Keys, adding: View) -> None:
    limited = make("limited", endpoint_names=["adding"])
    steps = [{"endpoint_name": "adding", "input": [1, 2]}, {"endpoint_name": "other"}]
    answer = client.post("/pipelines", json={"steps": steps}, headers=limited)
    assert code_of(answer) == (403, "endpoint_forbidden")
    job_id = submitted(client, limited)
    mine = client.post("/predict/adding", json={"input": [1, 2], "then": ["adding"]}, headers=limited).json["job_id"]
    assert client.get(f"/jobs/{mine}", headers=make("other")).status_code == 404
    assert {each["job_id"] for each in client.get("/jobs", headers=limited).json["jobs"]} >= {job_id, mine}


def test_the_universal_address_leads_a_client_to_no_other_endpoint_either(
    client: Client, make: Keys, adding: View
) -> None:
    answer = client.post("/predict", json={"model_name": "adder", "input": [1, 2]}, headers=make(endpoint_names=["my"]))
    assert code_of(answer) == (403, "endpoint_forbidden")


def test_a_client_with_endpoints_learns_no_name_of_others(client: Client, make: Keys, adding: View) -> None:
    limited = make("limited", endpoint_names=["own"])

    def answers(name: str) -> list[tuple[int, str]]:
        """What is answered to a name of an endpoint or a model, without the name."""
        found = [
            client.post(f"/predict/{name}", json={"input": [1, 2]}, headers=limited),
            client.post(f"/predict/{name}/bulk", json=[{"input": [1, 2]}], headers=limited),
            client.post("/predict", json={"model_name": name, "input": [1, 2]}, headers=limited),
            client.post("/predict", json={"model_name": name, "version": "1", "input": [1, 2]}, headers=limited),
            client.post(f"/v2/models/{name}/infer", json={"inputs": []}, headers=limited),
            client.get(f"/v2/models/{name}", headers=limited),
            client.get(f"/v2/models/{name}/ready", headers=limited),
            client.get(f"/v2/models/{name}/versions/1/config", headers=limited),
        ]
        return [(each.status_code, json.dumps(each.json).replace(name, "NAME")) for each in found]

    missing = answers("nothing")
    assert {status for status, _ in missing} == {403}
    assert answers("adding") == answers("adder") == missing


def test_a_client_with_endpoints_is_led_to_its_own_whatever_others_serve(
    client: Client, make: Keys, adding: View
) -> None:
    client.register()
    operator = make("operator", Role.OPERATOR)
    wanted = {"endpoint_name": "newer", "model_name": "adder", "version": "2"}
    client.post("/deployments/deploy", json=wanted, headers=operator)
    limited, other = make("limited", endpoint_names=["adding"]), make("other", endpoint_names=["newer"])
    for key, endpoint_name, version in ((limited, "adding", "1"), (other, "newer", "2")):
        answer = client.post("/predict", json={"model_name": "adder", "input": [1, 2]}, headers=key)
        assert (answer.json["endpoint_name"], answer.json["version"]) == (endpoint_name, version)
        assert client.get("/v2/models/adder", headers=key).json["versions"] == [version]


@pytest.mark.parametrize("cache_s", [0, 0.2])
def test_a_revoked_key_is_refused_as_soon_as_the_cache_forgets_it(
    app: Flask, client: Client, make: Keys, cache_s: float
) -> None:
    services.of(app).api_keys = RegistryCache(cache_s)
    key = make()
    assert client.get("/jobs", headers=key).status_code == 200
    make.revoke("shop")
    eventually(lambda: client.get("/jobs", headers=key).status_code == 401, 5, message="the key is refused")


def test_keys_are_read_once_within_the_caches_time(app: Flask, client: Client, make: Keys) -> None:
    services.of(app).api_keys = RegistryCache(60)
    key, reads = make(), []
    event.listen(default_database().engine, "before_cursor_execute", lambda *arguments: reads.append(arguments[2]))
    for _ in range(5):
        assert client.get("/jobs", headers=key).status_code == 200
    assert len([each for each in reads if each.startswith("SELECT")]) == 1


def test_the_last_use_is_noted(client: Client, make: Keys) -> None:
    key, admin = make(), make("admin", Role.ADMIN)
    client.get("/jobs", headers=key)
    found = {each["name"]: each for each in client.get("/keys", headers=admin).json["keys"]}
    assert found["shop"]["last_used_at"] is not None


def test_too_many_requests_are_refused_and_told_when_to_come_back(client: Client, make: Keys) -> None:
    slow, other = make("slow", rate_limit_per_s=0.5), make("other")
    assert client.get("/jobs", headers=slow).status_code == 200
    answer = client.get("/jobs", headers=slow)
    assert code_of(answer) == (429, "rate_limited")
    assert answer.headers["Retry-After"] in ("1", "2")
    assert answer.json["retry_after_s"] == int(answer.headers["Retry-After"])
    assert client.get("/jobs", headers=other).status_code == 200


def test_a_rate_is_shared_by_all_processes_and_comes_back_with_time(client: Client, make: Keys) -> None:
    key = make("quick", rate_limit_per_s=20)
    answers = [client.get("/jobs", headers=key).status_code for _ in range(60)]
    assert answers.count(200) >= 20
    assert 429 in answers
    [stored] = records_client().keys(redis_keys.rate("*"))
    assert 0 < records_client().pttl(stored) <= 2_000
    eventually(lambda: client.get("/jobs", headers=key).status_code == 200, 5, message="there is room again")


def test_without_redis_no_rate_is_limited_and_without_the_registry_known_keys_go_on(
    app: Flask, client: Client, make: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    services.of(app).api_keys = RegistryCache(0)
    known, strange = make("known", Role.OPERATOR, rate_limit_per_s=0.5), make("strange")
    assert client.get("/jobs", headers=known).status_code == 200
    monkeypatch.setattr(
        "workers.platform.redis.rate_limits.records_client", lambda: connect(f"redis://127.0.0.1:{free_port()}/0")
    )
    assert client.get("/jobs", headers=known).status_code == 200
    monkeypatch.setattr(services.of(app), "database", Database("postgresql://nobody@127.0.0.1:1/none"))
    assert client.get("/jobs", headers=known).status_code == 200
    answer = client.get("/jobs", headers=strange)
    assert code_of(answer) == (503, "registry_unavailable")


def test_admins_make_list_and_revoke_keys_over_http(client: Client, make: Keys) -> None:
    admin = make("admin", Role.ADMIN)
    wanted = {"name": "shop", "role": "client", "endpoint_names": ["adding"], "rate_limit_per_s": 5}
    made = client.post("/keys", json=wanted, headers=admin)
    assert made.status_code == 201
    key = {"Authorization": f"Bearer {made.json['key']}"}
    assert client.get("/jobs", headers=key).status_code == 200
    listed = client.get("/keys", headers=admin)
    assert made.json["key"] not in listed.text
    assert [each["name"] for each in listed.json["keys"]] == ["admin", "shop"]
    assert code_of(client.post("/keys", json=wanted, headers=admin)) == (409, "api_key_exists")
    assert client.post("/keys", json={**wanted, "second": True}, headers=admin).status_code == 201
    assert client.delete(made.headers["Location"], headers=admin).status_code == 204
    assert client.get("/jobs", headers=key).status_code == 401
    assert code_of(client.delete(made.headers["Location"], headers=admin)) == (404, "api_key_not_found")
    assert len(client.get("/keys?revoked=true", headers=admin).json["keys"]) == 3


@pytest.mark.parametrize(
    ("wanted", "status"),
    [
        ({"name": "x", "role": "operator", "endpoint_names": ["adding"]}, 422),
        ({"name": "qc_mine", "role": "client"}, 422),
        ({"name": "x", "role": "root"}, 422),
        ({"name": "x"}, 422),
        ({"name": "x", "role": "client", "rate_limit_per_s": 0}, 422),
    ],
)
def test_keys_that_make_no_sense_are_refused(client: Client, make: Keys, wanted: View, status: int) -> None:
    assert client.post("/keys", json=wanted, headers=make("admin", Role.ADMIN)).status_code == status


def test_the_document_says_how_to_show_a_key_and_which_role_is_needed(client: Client, make: Keys) -> None:
    found = client.get("/openapi.json", headers=make()).json
    [scheme] = found["components"]["securitySchemes"]
    assert found["components"]["securitySchemes"][scheme]["scheme"] == "bearer"
    by_id = {each["operationId"]: each for methods in found["paths"].values() for each in methods.values()}
    for name in operations_of(client.application):
        operation, role = by_id[name.replace(".", "_")], ROLES[name]
        assert operation.get("security") == (None if role is None else [{scheme: []}])
        assert role is None or {"401", "403", "429"} <= operation["responses"].keys()
        assert role is None or f"`{role.value}`" in operation["description"]


class TestStart:
    """What is refused at the start, and what only this machine may do without keys."""

    @pytest.fixture
    def database(self, app: Flask) -> Database:
        return services.of(app).database

    @pytest.mark.parametrize(
        ("host", "auth", "asks"),
        [
            ("127.0.0.1", "auto", False),
            ("localhost", "auto", False),
            ("::1", "auto", False),
            ("127.8.8.8", "auto", False),
            ("0.0.0.0", "auto", True),
            ("::", "auto", True),
            ("192.0.2.7", "auto", True),
            ("api.example.org", "auto", True),
            ("", "auto", True),
            ("127.0.0.1", "on", True),
            ("127.0.0.1", "off", False),
        ],
    )
    def test_keys_are_asked_for_unless_only_this_machine_can_come(self, host: str, auth: str, asks: bool) -> None:
        assert ApiSettings(host=host, auth=AuthMode(auth)).asks_for_keys is asks

    def test_without_keys_it_does_not_start_where_others_can_come(self, database: Database, make: Keys) -> None:
        elsewhere = ApiSettings(host="0.0.0.0")
        with pytest.raises(KeysNeeded, match=r"queuecast keys create NAME --role admin"):
            guard.check_start(elsewhere, database)
        guard.check_start(ApiSettings(), database)
        make("me", Role.ADMIN)
        guard.check_start(elsewhere, database)
        make.revoke("me")
        with pytest.raises(KeysNeeded):
            guard.check_start(ApiSettings(auth=AuthMode.ON), database)

    def test_it_can_not_be_told_to_ask_nobody_where_others_can_come(self, database: Database, make: Keys) -> None:
        make("me", Role.ADMIN)
        with pytest.raises(KeysNeeded, match="QUEUECAST_AUTH=off"):
            guard.check_start(ApiSettings(host="0.0.0.0", auth=AuthMode.OFF), database)

    def test_a_wrong_mode_is_named(self, monkeypatch: pytest.MonkeyPatch) -> None:
        from api import settings

        monkeypatch.setenv("QUEUECAST_AUTH", "maybe")
        settings.load.cache_clear()
        with pytest.raises(SettingsWrong, match="QUEUECAST_AUTH"):
            settings.load()
        settings.load.cache_clear()


class TestWithoutKeys:
    """An API on loopback that asks for none."""

    @pytest.fixture
    def settings(self) -> ApiSettings:
        return ApiSettings(max_body_bytes=MAX_BYTES, deployment_cache_s=0)

    def test_this_machine_comes_in(self, client: Client) -> None:
        for address in ("127.0.0.1", "127.1.2.3", "::1", "::ffff:127.0.0.1", ""):
            assert client.get("/jobs", environ_base={"REMOTE_ADDR": address}).status_code == 200

    def test_others_do_not_whatever_server_let_them_in(self, client: Client) -> None:
        for address in ("192.0.2.7", "::ffff:192.0.2.7", "2001:db8::1"):
            answer = client.get("/jobs", environ_base={"REMOTE_ADDR": address})
            assert code_of(answer) == (403, "api_keys_needed")

    @pytest.mark.parametrize(
        "headers", [{"X-Forwarded-For": "192.0.2.7"}, {"X-Real-IP": "192.0.2.7"}, {"Forwarded": "for=192.0.2.7"}]
    )
    def test_what_a_proxy_passes_on_is_refused_with_what_to_do(self, client: Client, headers: dict[str, str]) -> None:
        answer = client.get("/jobs", headers=headers)
        assert code_of(answer) == (403, "api_keys_needed")
        assert "QUEUECAST_AUTH=on" in answer.json["detail"]

    @pytest.mark.parametrize("origin", ["https://example.org", "null", "http://localhost:8000"])
    def test_a_page_from_elsewhere_can_not_use_the_reader_of_it(self, client: Client, origin: str) -> None:
        answer = client.post("/models", headers={"Origin": origin})
        assert code_of(answer) == (403, "api_keys_needed")

    def test_the_apis_own_page_can_use_it(self, client: Client) -> None:
        assert client.get("/jobs", headers={"Origin": "http://localhost", "Host": "localhost"}).status_code == 200

    @pytest.mark.parametrize("host", ["example.org", "example.org:8000", "192.0.2.7:8000", "127.0.0.1.example.org"])
    def test_a_page_whose_name_was_led_to_this_machine_can_not_use_it(self, client: Client, host: str) -> None:
        """The name is the page's own, so for the browser it is no other site, and it sends no foreign Origin."""
        for headers in ({"Host": host}, {"Host": host, "Origin": f"http://{host}"}):
            answer = client.get("/jobs", headers=headers)
            assert code_of(answer) == (403, "api_keys_needed")
            assert "QUEUECAST_AUTH" in answer.json["detail"]

    @pytest.mark.parametrize("host", ["localhost:8000", "127.0.0.1:8000", "[::1]:8000", "[::1]", "LOCALHOST", ""])
    def test_this_machines_own_names_lead_to_it(self, client: Client, host: str) -> None:
        assert client.get("/jobs", environ_overrides={"HTTP_HOST": host}).status_code == 200

    def test_jobs_belong_to_nobody(self, client: Client) -> None:
        client.register()
        client.deploy()
        assert client.get(f"/jobs/{client.submit()}").json["owner"] is None

    @pytest.mark.parametrize("path", ["/jobs", "/jobs/x", "/v2", "/v2/models/x", "/metrics", "/console/jobs"])
    @pytest.mark.parametrize("shown", ["Bearer nonsense", "Bearer qc_wrong", "Bearer ", "bearer \xe9"])
    def test_what_is_shown_as_a_key_and_is_none_is_refused(self, client: Client, path: str, shown: str) -> None:
        answer = client.get(path, headers={"Authorization": shown})
        assert answer.status_code == 401
        assert "asks for none" in answer.text

    def test_a_revoked_key_is_refused_though_none_is_asked_for(self, client: Client, make: Keys) -> None:
        shown = make("shop")
        assert client.get("/jobs", headers=shown).status_code == 200
        assert client.delete("/keys/shop").status_code == 204
        assert code_of(client.get("/jobs", headers=shown)) == (401, "api_key_invalid")
        assert client.get("/jobs").status_code == 200

    def test_a_key_that_is_shown_counts_with_its_role_and_limits(self, client: Client, make: Keys) -> None:
        client.register()
        client.deploy()
        shop, desk = make("shop"), make("desk", endpoint_names=["another"])
        assert code_of(client.get("/deployments", headers=shop)) == (403, "role_insufficient")
        assert code_of(client.post("/predict/adding", json={"input": [1, 2]}, headers=desk))[0] == 403
        made = client.post("/predict/adding", json={"input": [1, 2]}, headers=shop)
        job = f"/jobs/{made.json['job_id']}"
        assert client.get(job, headers=shop).json["owner"] == "shop"
        assert client.get(job, headers=desk).status_code == 404
        assert client.get(job).status_code == 200
        assert client.get(f"/jobs/{client.submit()}", headers=shop).status_code == 404

    def test_a_key_that_is_shown_has_its_rate(self, client: Client, make: Keys) -> None:
        shown = make("slow", rate_limit_per_s=1)
        assert [client.get("/jobs/x", headers=shown).status_code for _ in range(3)] == [404, 429, 429]
        assert client.get("/jobs/x").status_code == 404

    def test_a_key_opens_no_page_to_a_lower_role(self, client: Client, make: Keys) -> None:
        assert client.get("/console/models", headers=make("shop")).status_code == 403
        assert client.get("/console/models", headers=make("ops", Role.OPERATOR)).status_code == 200

    def test_what_is_no_key_is_none(self, client: Client) -> None:
        assert client.get("/jobs", headers={"Authorization": "Basic eDp5"}).status_code == 200
        assert client.get("/health/live", headers={"Authorization": "Bearer nonsense"}).status_code == 200

    def test_the_document_asks_for_no_key(self, client: Client) -> None:
        paths = client.get("/openapi.json").json["paths"]
        assert not any("security" in each for methods in paths.values() for each in methods.values())


class TestToldToAskNobody:
    @pytest.fixture
    def settings(self) -> ApiSettings:
        return ApiSettings(auth=AuthMode.OFF)

    def test_a_proxy_is_let_through(self, client: Client) -> None:
        assert client.get("/jobs", headers={"X-Forwarded-For": "192.0.2.7"}).status_code == 200

    def test_a_token_of_the_proxy_is_no_key_and_a_wrong_key_is_refused(self, client: Client) -> None:
        assert client.get("/jobs", headers={"Authorization": "Bearer eyJhbGciOi"}).status_code == 200
        assert code_of(client.get("/jobs", headers={"Authorization": "Bearer qc_wrong"})) == (401, "api_key_invalid")


def test_the_clock_of_the_rate_is_exact_enough_for_short_intervals(redis_url: str) -> None:
    from workers.platform.redis import rate_limits

    assert [rate_limits.take("x", 1_000) for _ in range(1_000)].count(0) >= 999
    began = time.monotonic()
    while not (wait_s := rate_limits.take("y", 2)):
        assert time.monotonic() - began < 5
    assert 0 < wait_s <= 0.5
