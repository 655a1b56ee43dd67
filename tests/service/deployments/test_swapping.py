"""Deploying another version on an endpoint that serves: no job is refused, and each outcome names its version."""

from __future__ import annotations

import itertools
from pathlib import Path

from tests.support.loads.load import Load
from tests.support.models import Echo, SlowToLoad
from tests.support.service.stack import Stack
from tests.support.waiting import eventually


def test_a_swap_under_load_refuses_nothing_and_then_only_the_new_version_answers(service: Stack, name: str) -> None:
    for mark in "123":
        service.register(name, Echo(mark, seconds=0.002))
    service.deploy(name, version="1", endpoint_name=name, max_batch_size=4)
    starts = [0]
    with Load(service.url, name) as load:
        load.wait_for(50)
        for version in "231":
            service.deploy(name, version=version, endpoint_name=name)
            # The one that is being submitted right now may still be the old version's.
            starts.append(load.count + 1)
            load.wait_for(50)
    assert load.refused == []
    outcomes = service.outcomes(accepted.job_id for accepted in load.accepted)
    for accepted, outcome in zip(load.accepted, outcomes, strict=True):
        assert outcome["prediction"] == [outcome["version"], accepted.row]
    versions = [outcome["version"] for outcome in outcomes]
    # Before the first swap there is none but the first, and after each one the old version is never seen again.
    for before, after, (start, end) in zip("123", "231", itertools.pairwise(starts), strict=True):
        assert set(versions[start:end]) <= {before, after}
    assert set(versions[starts[-1] :]) == {"1"}
    assert set(versions) == {"1", "2", "3"}


def test_the_old_version_serves_until_the_new_one_is_loaded(service: Stack, name: str, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    service.register(name, Echo("1"))
    service.register(name, SlowToLoad("2", gate))
    service.deploy(name, version="1", endpoint_name=name)
    with Load(service.url, name) as load:
        load.wait_for(20)
        service.deploy(name, version="2", endpoint_name=name, wait_s=0)
        eventually(lambda: states(service, name) == {"1": "ready", "2": "loading"}, message="it is being loaded")
        load.wait_for(50)
        view = service.view(name)
        assert view["status"] == "deploying"
        assert "Version 1 keeps serving" in view["reason"]
        assert service.predict(name, "meanwhile")["version"] == "1"
        gate.touch()
        view = service.wait_for_status(name, "active")
        assert view["version"] == "2"
        load.wait_for(20)
        assert service.predict(name, "after")["version"] == "2"
    assert load.refused == []
    outcomes = service.outcomes(accepted.job_id for accepted in load.accepted)
    assert {outcome["version"] for outcome in outcomes} == {"1", "2"}


def states(service: Stack, name: str) -> dict[str, str]:
    return {each["version"]: each["state"] for each in service.view(name)["workers"]}


def test_settings_change_while_it_serves_without_another_load(service: Stack, name: str) -> None:
    service.register(name, Echo("1"))
    before = service.deploy(name, endpoint_name=name)["workers"][0]["pids"]
    with Load(service.url, name) as load:
        load.wait_for(20)
        view = service.deploy(name, endpoint_name=name, hosts=2, max_batch_size=8)
        load.wait_for(20)
    assert load.refused == []
    service.outcomes(accepted.job_id for accepted in load.accepted)
    assert view["settings"]["hosts"] == 2
    after = service.view(name)["workers"]
    assert len(after) == 1
    assert set(before) < set(after[0]["pids"])
    assert len(after[0]["pids"]) == 2
