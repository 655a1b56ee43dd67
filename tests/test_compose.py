"""docker-compose.yml: what its services are told is what the code reads, and they run what the Procfile has."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import pytest
import yaml

from tests.support.service.environment import REPOSITORY
from tests.support.service.stack import procfile_command
from tests.test_readme import settings

COMPOSE = yaml.safe_load((REPOSITORY / "docker-compose.yml").read_text(encoding="utf-8"))
#: Those that run this code.
SERVICES = {
    name: each for name, each in COMPOSE["services"].items() if each["image"] == COMPOSE["x-queuecast"]["image"]
}
FLOWERS_OWN = {"FLOWER_BASIC_AUTH"}
WEBHOOKS = {"QUEUECAST_WEBHOOK_SECRETS", "QUEUECAST_WEBHOOK_HOSTS", "QUEUECAST_WEBHOOK_PRIVATE_NETWORKS"}


@pytest.mark.parametrize("service", SERVICES.values(), ids=SERVICES.keys())
def test_a_service_is_told_nothing_that_no_setting_reads(service: Mapping[str, Any]) -> None:
    known = {name for name, _ in settings()} | FLOWERS_OWN
    assert set(service["environment"]) <= known


def test_those_that_check_and_send_webhooks_know_how_and_nobody_else() -> None:
    told = {name: WEBHOOKS & set(service["environment"]) for name, service in SERVICES.items()}
    assert {name: names for name, names in told.items() if names} == {"web": WEBHOOKS, "background": WEBHOOKS}


def test_all_share_one_registry_one_redis_and_one_folder() -> None:
    for name in ("DATABASE_URL", "QUEUECAST_REDIS_URL", "QUEUECAST_DATA_DIR"):
        assert len({service["environment"][name] for service in SERVICES.values()}) == 1


@pytest.mark.parametrize(
    "name", re.findall(r"^(\w+): ", (REPOSITORY / "Procfile").read_text(encoding="utf-8"), re.MULTILINE)
)
def test_a_service_runs_what_the_procfile_runs(name: str) -> None:
    # A container has a name of its own on the network, and its processes are found by that.
    named = {f"--hostname={name}@%h"} if name in {"worker", "background"} else set()
    program, command, *options = SERVICES[name]["command"]
    assert f"{program} {command}" == procfile_command(name)
    assert set(options) == named
