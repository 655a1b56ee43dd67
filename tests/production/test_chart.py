"""The Helm chart: valid for Kubernetes, hardened, and told the same as docker-compose.yml and the systemd units."""

from __future__ import annotations

import copy
from typing import Any

import helm_python
import kubernetes_validate
import pytest
import yaml

from tests.production.chart import CHART, EVERYTHING, Document, one, pods, rendered, values
from tests.support.service.environment import REPOSITORY
from tests.test_readme import settings

VERSION = "1.37"
#: Read by the AWS libraries and by Flower, not by a settings class.
OTHERS = {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION", "FLOWER_BASIC_AUTH"}
SECRETS = {
    each["metadata"]["name"]: each["stringData"]
    for each in yaml.safe_load_all((REPOSITORY / "docs" / "kubernetes" / "secret.yaml").read_text(encoding="utf-8"))
}
BUILT_IN = [each for each in rendered() if not each["apiVersion"].startswith("keda.sh/")]


@pytest.mark.parametrize("document", BUILT_IN, ids=lambda each: f"{each['kind']}-{each['metadata']['name']}")
def test_what_is_rendered_is_valid_by_the_schemas_of_kubernetes(document: Document) -> None:
    kubernetes_validate.validate(document, VERSION, strict=True)


def test_a_misspelt_field_of_a_template_would_be_found() -> None:
    document = copy.deepcopy(one("Deployment", "queuecast-web"))
    document["spec"]["template"]["spec"]["containers"][0]["redinessProbe"] = {}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(document, VERSION, strict=True)


def test_helm_finds_nothing_to_complain_of() -> None:
    report = helm_python.lint(CHART, dict(EVERYTHING), strict=True)
    assert report["errors"] == []


def test_a_misspelt_value_is_refused_by_name() -> None:
    with pytest.raises(helm_python.HelmError, match="replica"):
        rendered({"web": {"replica": 3}})


def test_every_pod_runs_without_rights_and_without_a_disk_to_write_to() -> None:
    for name, pod in pods(rendered()).items():
        [container] = pod["containers"]
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }, name
        assert pod["securityContext"]["runAsNonRoot"], name
        assert pod["automountServiceAccountToken"] is False, name
        assert {each["mountPath"] for each in container["volumeMounts"]} == {"/data", "/tmp"}, name


def test_no_service_of_the_namespace_gives_a_pod_a_setting() -> None:
    """Kubernetes gives each pod the address of each Service, by variables that begin with its name."""
    known = {name for name, _ in settings()}
    links = {
        f"{each['metadata']['name'].upper().replace('-', '_')}_{end}"
        for each in rendered() if each["kind"] == "Service" for end in ("PORT", "SERVICE_HOST", "SERVICE_PORT")
    }  # fmt: skip
    assert links & known == {"QUEUECAST_FLOWER_PORT"}, "an address instead of a number, with which nothing starts"
    assert {name for name, pod in pods(rendered()).items() if pod.get("enableServiceLinks", True)} == set()


def test_what_serves_is_looked_at_by_probes() -> None:
    both = {"readinessProbe", "livenessProbe"}
    found = {name: both & set(pod["containers"][0]) for name, pod in pods(rendered()).items()}
    assert found == {"web": both, "flower": both, "worker": {"livenessProbe"}, "background": set(), "migrate": set()}


def test_variables_are_those_that_are_read() -> None:
    known = {name for name, _ in settings()} | OTHERS
    own = {each["name"] for pod in pods(rendered()).values() for each in pod["containers"][0].get("env", [])}
    told = own | set(values()["settings"]) | set(SECRETS["queuecast"]) | set(SECRETS["queuecast-webhooks"])
    assert told - known == set()


def test_processes_are_started_as_docker_compose_starts_them() -> None:
    services = yaml.safe_load((REPOSITORY / "docker-compose.yml").read_text(encoding="utf-8"))["services"]
    commands = {name: pod["containers"][0]["command"] for name, pod in pods(rendered()).items()}
    assert commands == {name: services[name]["command"] for name in commands}


def test_secrets_that_pods_name_are_those_of_the_template() -> None:
    named = {
        source["secretRef"]["name"]
        for pod in pods(rendered()).values()
        for source in pod["containers"][0]["envFrom"]
        if "secretRef" in source
    }
    [authentication] = [each for each in rendered() if each["kind"] == "TriggerAuthentication"]
    [key] = authentication["spec"]["secretTargetRef"]
    assert named | {key["name"]} == set(SECRETS)
    assert key["key"] in SECRETS[key["name"]]


def test_what_webhooks_are_signed_with_is_given_to_the_api_and_the_background_process_alone() -> None:
    assert "QUEUECAST_WEBHOOK_SECRETS" not in SECRETS["queuecast"]
    reading = {
        name
        for name, pod in pods(rendered()).items()
        for source in pod["containers"][0]["envFrom"]
        if source.get("secretRef", {}).get("name") == "queuecast-webhooks"
    }
    assert reading == {"web", "background"}


def test_the_registry_is_migrated_before_anything_else_changes_with_all_that_it_reads() -> None:
    job = one("Job", "queuecast-migrate")
    assert job["metadata"]["annotations"]["helm.sh/hook"] == "pre-install,pre-upgrade"
    [container] = job["spec"]["template"]["spec"]["containers"]
    assert "configMapRef" not in str(container["envFrom"]), "the ConfigMap isn't there yet"
    assert {each["name"] for each in container["env"]} == set(values()["settings"])


def test_a_worker_has_longer_to_stop_than_its_predictions_have() -> None:
    grace_s = float(values()["settings"]["QUEUECAST_SHUTDOWN_GRACE_S"])
    assert pods(rendered())["worker"]["terminationGracePeriodSeconds"] >= grace_s + 15


def test_changed_settings_start_the_pods_anew() -> None:
    def marks(changes: dict[str, Any]) -> dict[str, str]:
        found = [each for each in rendered(changes) if each["kind"] == "Deployment"]
        return {each["metadata"]["name"]: each["spec"]["template"]["metadata"]["annotations"] for each in found}

    before, after = marks({}), marks({"settings": {"QUEUECAST_LOG_FORMAT": "text"}})
    assert before.keys() == after.keys()
    assert all(before[name] != after[name] for name in before)


def test_each_worker_group_has_a_deployment_a_scaler_and_an_image_of_its_own() -> None:
    [default] = values()["workers"]
    heavy = {**default, "group": "heavy", "image": "registry.example/torch:2", "maxReplicas": 3}
    changes = {"workers": [default, heavy], "keda": {"enabled": True}}
    deployment = one("Deployment", "queuecast-worker-heavy", changes)
    [container] = deployment["spec"]["template"]["spec"]["containers"]
    assert container["image"] == "registry.example/torch:2"
    assert {"name": "QUEUECAST_WORKER_GROUP", "value": "heavy"} in container["env"]
    assert "replicas" not in deployment["spec"], "each upgrade would undo what KEDA has set"
    scaled = one("ScaledObject", "queuecast-worker-heavy", changes)["spec"]
    assert scaled["scaleTargetRef"]["name"] == "queuecast-worker-heavy"
    assert (scaled["minReplicaCount"], scaled["maxReplicaCount"]) == (0, 3)
    assert scaled["triggers"][0]["metadata"]["valueLocation"].endswith('{group="heavy"}')
    assert one("Deployment", "queuecast-worker-default", changes)


def test_an_entry_of_a_worker_group_may_leave_out_how_many_there_are() -> None:
    entry = {"group": "heavy", "terminationGracePeriodSeconds": 60, "resources": {}}
    changes = {"workers": [entry], "keda": {"enabled": True}}
    scaled = one("ScaledObject", "queuecast-worker-heavy", changes)["spec"]
    assert (scaled["minReplicaCount"], scaled["maxReplicaCount"]) == (0, 10)
    assert one("Deployment", "queuecast-worker-heavy", {"workers": [entry]})["spec"]["replicas"] == 1
    none = {"workers": [{**entry, "replicas": 0}]}
    assert one("Deployment", "queuecast-worker-heavy", none)["spec"]["replicas"] == 0


def test_without_keda_a_group_has_the_wanted_number_of_workers() -> None:
    found = [each["kind"] for each in rendered({})]
    assert "ScaledObject" not in found
    assert one("Deployment", "queuecast-worker-default", {})["spec"]["replicas"] == 1


def test_keda_asks_the_api_where_it_is_with_a_key_that_is_there() -> None:
    [trigger] = one("ScaledObject", "queuecast-worker-default")["spec"]["triggers"]
    service = one("Service", "queuecast-web")
    host = f"{service['metadata']['name']}.models.svc.cluster.local"
    assert trigger["metadata"]["url"] == f"http://{host}:{service['spec']['ports'][0]['port']}/metrics"
    assert trigger["authenticationRef"]["name"] == one("TriggerAuthentication", "queuecast")["metadata"]["name"]
