"""The manifests of docs/kubernetes: valid, the same commands and variables as elsewhere, and a number to scale on."""

from __future__ import annotations

import re
import signal
from pathlib import Path
from typing import Any

import httpx
import kubernetes_validate
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from api.settings import ApiSettings
from registry.settings import RegistrySettings
from tests.support.calls import expect
from tests.support.metrics import Scrape
from tests.support.models import Gate
from tests.support.service.environment import REPOSITORY
from tests.support.service.stack import Stack
from tests.support.waiting import eventually
from workers.settings import WorkerSettings
from workers.webhooks.settings import WebhookSettings

FOLDER = REPOSITORY / "docs" / "kubernetes"
VERSION = "1.37"
#: Read by the AWS libraries and by Flower, not by a settings class.
OTHERS = {"DATABASE_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION", "FLOWER_BASIC_AUTH"}


def documents(name: str = "*") -> list[dict[str, Any]]:
    return [each for path in sorted(FOLDER.glob(f"{name}.yaml")) for each in yaml.safe_load_all(path.read_text())]


def one(kind: str, name: str) -> dict[str, Any]:
    [found] = [each for each in documents() if (each["kind"], each["metadata"]["name"]) == (kind, name)]
    return found


def pod(document: dict[str, Any]) -> dict[str, Any]:
    spec: dict[str, Any] = document["spec"]["template"]["spec"]
    return spec


KEDA = [each for each in documents() if each["apiVersion"] == "keda.sh/v1alpha1"]
BUILT_IN = [each for each in documents() if each not in KEDA]
PODS = [each for each in BUILT_IN if each["kind"] in ("Deployment", "Job")]


@pytest.mark.parametrize("document", BUILT_IN, ids=lambda each: f"{each['kind']}-{each['metadata']['name']}")
def test_manifests_are_valid_by_the_schemas_of_kubernetes(document: dict[str, Any]) -> None:
    kubernetes_validate.validate(document, VERSION, strict=True)


def test_a_misspelt_field_is_found() -> None:
    document = one("Deployment", "api")
    pod(document)["containers"][0]["redinessProbe"] = {}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(document, VERSION, strict=True)


def test_processes_are_started_as_docker_compose_starts_them() -> None:
    services = yaml.safe_load((REPOSITORY / "docker-compose.yml").read_text())["services"]
    names = {"api": "web", "worker": "worker", "flower": "flower", "background": "background", "migrate": "migrate"}
    commands = {each["containers"][0]["name"]: each["containers"][0]["command"] for each in map(pod, PODS)}
    assert commands == {name: services[names[name]]["command"] for name in commands}


def test_variables_are_those_that_are_read() -> None:
    settings = (ApiSettings, WorkerSettings, WebhookSettings, RegistrySettings)
    known = OTHERS | {f"QUEUECAST_{name.upper()}" for each in settings for name in each.model_fields}
    config, secret = one("ConfigMap", "queuecast")["data"], one("Secret", "queuecast")["stringData"]
    webhooks = one("Secret", "queuecast-webhooks")["stringData"]
    own = {each["name"] for document in PODS for each in pod(document)["containers"][0].get("env", [])}
    assert (set(config) | set(secret) | set(webhooks) | own) - known == set()


def test_what_webhooks_are_signed_with_is_given_to_the_api_and_the_background_process_alone() -> None:
    assert "QUEUECAST_WEBHOOK_SECRETS" not in one("Secret", "queuecast")["stringData"]
    reading = {
        document["metadata"]["name"]
        for document in PODS
        for source in pod(document)["containers"][0]["envFrom"]
        if source.get("secretRef", {}).get("name") == "queuecast-webhooks"
    }
    assert reading == {"api", "background"}


def test_a_worker_has_longer_to_stop_than_its_predictions_have() -> None:
    grace_s = float(one("ConfigMap", "queuecast")["data"]["QUEUECAST_SHUTDOWN_GRACE_S"])
    assert pod(one("Deployment", "worker-default"))["terminationGracePeriodSeconds"] >= grace_s + 15


def test_keda_scales_what_is_there_with_a_secret_that_is_there() -> None:
    scaled, [authentication] = one("ScaledObject", "worker-default"), [
        each for each in KEDA if each["kind"] == "TriggerAuthentication"
    ]  # fmt: skip
    worker = one("Deployment", scaled["spec"]["scaleTargetRef"]["name"])
    assert "replicas" not in worker["spec"], "each apply would undo what KEDA has set"
    group = pod(worker)["containers"][0]["env"][0]["value"]
    [trigger] = scaled["spec"]["triggers"]
    assert trigger["metadata"]["valueLocation"].endswith(f'{{group="{group}"}}')
    assert trigger["authenticationRef"]["name"] == authentication["metadata"]["name"]
    [wanted] = authentication["spec"]["secretTargetRef"]
    assert wanted["key"] in one("Secret", wanted["name"])["stringData"]
    service = one("Service", "api")
    host = f"{service['metadata']['name']}.{service['metadata']['namespace']}.svc.cluster.local"
    assert trigger["metadata"]["url"] == f"http://{host}:{service['spec']['ports'][0]['port']}/metrics"


def unfinished_jobs(service: Stack) -> float:
    return Scrape(service.api.get("/metrics").text).value("queuecast_group_unfinished_jobs", group="default")


def asked_as_keda_does(service: Stack) -> float:
    """The number that the scaler's URL and selector give: one sample, whose labels all match."""
    [trigger] = one("ScaledObject", "worker-default")["spec"]["triggers"]
    path = httpx.URL(trigger["metadata"]["url"]).path
    found = re.fullmatch(r'(\w+)\{(\w+)="(\w+)"\}', trigger["metadata"]["valueLocation"])
    assert found
    name, label, value = found.groups()
    answer = service.api.get(path)
    assert answer.status_code == 200
    [number] = [
        sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
        if sample.name == name and sample.labels == {label: value}
    ]
    return float(number)


@pytest.mark.slow
@pytest.mark.long
def test_the_number_goes_to_zero_with_the_last_awake_deployment_and_back_with_a_job(
    stack: Stack, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    stack.register("gate", Gate("m"))
    on_demand = {"hosts": {"min": 0, "max": 1}, "idle_s": 1.0}
    stack.deploy("gate", endpoint_name="sleeper", wait_s=0, **on_demand)
    assert asked_as_keda_does(stack) == 1, "a deploy is to show whether it works"
    worker = stack.start_worker()
    stack.wait_for_status("sleeper", "active")
    assert asked_as_keda_does(stack) == 1
    stack.wait_for_status("sleeper", "asleep")
    assert asked_as_keda_does(stack) == 0
    worker.stop()
    assert stack.view("sleeper")["status"] == "asleep"
    assert "No worker of group 'default' is running" in stack.view("sleeper")["reason"]
    assert asked_as_keda_does(stack) == 0
    job = stack.submit("sleeper", str(gate))
    assert stack.view("sleeper")["status"] == "deploying", "its job waits for a worker"
    assert asked_as_keda_does(stack) == 1
    leaving = stack.start_worker()
    stack.wait_until_running([job])
    # It is in the worker now, and every queue is empty: the worker must not be taken for idle.
    assert asked_as_keda_does(stack) == 1
    leaving.send(signal.SIGTERM)
    gate.touch()
    assert leaving.wait() == 0
    [outcome] = stack.outcomes([job])
    assert (outcome["worker"], outcome["attempts"]) == (leaving.node_name, 1), "a stopped worker ends what it runs"
    stack.start_worker()
    eventually(lambda: asked_as_keda_does(stack) == 0, 20, message="nothing is left")


@pytest.mark.slow
def test_unfinished_jobs_are_what_waits_in_any_priority_and_what_runs_and_end_at_zero(
    stack: Stack, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    stack.register("gate", Gate("m"))
    for endpoint in ("one", "two"):
        stack.deploy("gate", endpoint_name=endpoint, wait_s=0, max_batch_size=4)
    assert unfinished_jobs(stack) == 0
    levels = ["high", "low", "normal", "low", "normal"]
    jobs = [{"input": str(gate), "priority": level} for level in levels]
    ids = [job for name in ("one", "two") for job in expect(202, bulk(stack, name, jobs))["job_ids"]]
    assert "No worker of group 'default' is running" in stack.view("one")["reason"]
    assert unfinished_jobs(stack) == len(ids) == 10
    stack.start_worker()
    # All are in the worker now, and not one is in a queue: it must not be taken for idle.
    eventually(lambda: running(stack, ids) >= 8, message="the worker runs jobs of both endpoints")
    assert unfinished_jobs(stack) == len(ids)
    gate.touch()
    stack.outcomes(ids)
    # Workers say once a second what they hold.
    eventually(lambda: unfinished_jobs(stack) == 0, message="nothing is left")


def bulk(stack: Stack, endpoint_name: str, jobs: list[dict[str, str]]) -> httpx.Response:
    return stack.api.post(f"/predict/{endpoint_name}/bulk", json=jobs)


def running(stack: Stack, ids: list[str]) -> int:
    return sum(stack.job(job_id, 0)["status"] == "running" for job_id in ids)
