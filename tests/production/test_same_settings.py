"""docker-compose.yml, the Helm chart and the systemd units tell the processes the same."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml

from tests.production.chart import pods, rendered, values
from tests.support.service.environment import REPOSITORY

DOCS = REPOSITORY / "docs"
#: Each process with its unit.
UNITS = {
    each.stem.removeprefix("queuecast-").rstrip("@"): each.read_text(encoding="utf-8")
    for each in (DOCS / "systemd").glob("*.service")
}
COMPOSE: dict[str, Any] = yaml.safe_load((REPOSITORY / "docker-compose.yml").read_text(encoding="utf-8"))["services"]
SECRETS = {
    each["metadata"]["name"]: set(each["stringData"])
    for each in yaml.safe_load_all((DOCS / "kubernetes" / "secret.yaml").read_text(encoding="utf-8"))
}
#: Pods are scraped and stopped by others, share a Redis, and Flower is behind a Service.
OF_PODS = {
    "QUEUECAST_METRICS_HOST", "QUEUECAST_METRICS_PORT", "QUEUECAST_SHUTDOWN_GRACE_S", "QUEUECAST_MESSAGE_KEY",
    "FLOWER_BASIC_AUTH",
}  # fmt: skip
WEBHOOKS_FILE = "-/etc/queuecast-webhooks.env"


def files(unit: str) -> list[str]:
    return re.findall(r"^EnvironmentFile=(.+)$", unit, re.MULTILINE)


def of_the_guide() -> set[str]:
    """The variables that the guide to production puts into the units' file."""
    guide = (DOCS / "guides" / "production.md").read_text(encoding="utf-8")
    [block] = re.findall(r"Put them into `/etc/queuecast\.env`.*?```sh\n(.*?)```", guide, re.DOTALL)
    return set(re.findall(r"^(\w+)=", block, re.MULTILINE))


def of_all_pods() -> set[str]:
    return set(values()["settings"]) | SECRETS["queuecast"]


def test_each_way_runs_the_same_processes() -> None:
    assert set(UNITS) == set(pods(rendered()))
    assert set(UNITS) == {name for name, each in COMPOSE.items() if each.get("command", [""])[0] == "queuecast"}


def test_all_processes_are_told_the_same_but_for_what_pods_need_more() -> None:
    assert of_all_pods() - of_the_guide() == OF_PODS
    assert of_the_guide() - of_all_pods() == set()
    assert set(COMPOSE["worker"]["environment"]) <= of_the_guide()
    assert all(files(unit)[0] == "/etc/queuecast.env" for unit in UNITS.values())


def test_those_that_sign_webhooks_are_the_same_and_nobody_else_has_the_secret() -> None:
    by_compose = {name for name, each in COMPOSE.items() if "QUEUECAST_WEBHOOK_SECRETS" in each.get("environment", {})}
    by_chart = {name for name, pod in pods(rendered()).items() if "queuecast-webhooks" in str(pod["containers"])}
    by_units = {name for name, unit in UNITS.items() if WEBHOOKS_FILE in files(unit)}
    assert by_compose == by_chart == by_units == {"web", "background"}
    assert "QUEUECAST_WEBHOOK_SECRETS" not in of_the_guide() | of_all_pods()


@pytest.mark.parametrize(("name", "address"), [("web", "QUEUECAST_HOST"), ("flower", "QUEUECAST_FLOWER_HOST")])
def test_in_containers_those_that_answer_requests_can_be_reached(name: str, address: str) -> None:
    [container] = pods(rendered())[name]["containers"]
    assert {"name": address, "value": "0.0.0.0"} in container["env"]
    assert COMPOSE[name]["environment"][address] == "0.0.0.0"


@pytest.mark.parametrize("name", ["worker", "background"])
def test_a_unit_and_a_pod_have_the_same_time_to_end(name: str) -> None:
    unit = re.search(r"^TimeoutStopSec=(\d+)$", UNITS[name], re.MULTILINE)
    assert unit
    assert int(unit[1]) == pods(rendered())[name]["terminationGracePeriodSeconds"]
