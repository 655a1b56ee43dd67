from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from registry import deployments, versions
from registry.database.tables import DeploymentRow, VersionRow
from registry.deployments import Intent
from registry.errors import (
    DeploymentChanged,
    DeploymentNotFound,
    DeploymentUndeployed,
    ModelNotFound,
    NameInvalid,
    SettingsInvalid,
    VersionNotFound,
)
from registry.history import Action
from registry.serving.settings import ServingSettings
from registry.trials import candidates
from registry.trials.candidates import Placement
from tests.registry.conftest import Registrar

POLICIES = ["drain", "reject", "park"]


@pytest.fixture(autouse=True)
def _three_versions(add: Registrar) -> None:
    for _ in range(3):
        add("m")


def test_an_endpoint_is_named_after_the_latest_version_by_default(session: Session) -> None:
    deployed = deployments.deploy(session, "m")
    assert (deployed.endpoint_name, deployed.model_name, deployed.version) == ("m-v3", "m", "3")
    assert (deployed.intent, deployed.revision, deployed.worker_group) == (Intent.SERVE, 1, "default")
    assert deployed.settings == ServingSettings()


def test_a_setting_that_is_not_used_is_not_kept_so_that_workers_of_an_older_release_can_read_the_rest(
    session: Session,
) -> None:
    deployments.deploy(session, "m", endpoint_name="prod", settings={"callback_url": "https://hooks.example.com/"})
    assert _kept(session, "prod")["callback_url"] == "https://hooks.example.com/"
    again = deployments.deploy(session, "m", endpoint_name="prod", settings={"callback_url": None})
    assert again.settings == ServingSettings()
    assert "callback_url" not in _kept(session, "prod")


def _kept(session: Session, endpoint_name: str) -> dict[str, Any]:
    session.flush()
    row = session.scalars(select(DeploymentRow).where(DeploymentRow.endpoint_name == endpoint_name)).one()
    return row.settings


def test_a_deployment_says_all_that_a_worker_needs(session: Session, add: Registrar) -> None:
    version = add("m", runtime="sklearn", runtime_options={"method": "predict_proba"}, input_example={"a": 1.0})
    started_at = datetime.now(UTC)
    deployed = deployments.deploy(
        session, "m", endpoint_name="prod", settings={"max_batch_size": 7}, worker_group="gpu"
    )
    session.commit()
    session.expunge_all()
    found = deployments.find(session, "prod")
    assert found == deployed
    for name in ("runtime", "runtime_options", "artifact_sha256", "artifact_size_bytes", "signature", "input_example"):
        assert getattr(deployed, name) == getattr(version, name)
    assert (deployed.settings.max_batch_size, deployed.worker_group) == (7, "gpu")
    assert started_at <= deployed.deployed_at == deployed.updated_at <= datetime.now(UTC)


@pytest.mark.parametrize(
    ("wanted", "error"),
    [
        ({"model_name": "other"}, ModelNotFound),
        ({"model_name": "\u0000"}, ModelNotFound),
        ({"version": "9"}, VersionNotFound),
        ({"version": ""}, VersionNotFound),
        ({"endpoint_name": "a b"}, NameInvalid),
        ({"endpoint_name": ""}, NameInvalid),
        ({"endpoint_name": "undeploy"}, NameInvalid),
        ({"worker_group": "a b"}, NameInvalid),
        ({"worker_group": ""}, NameInvalid),
        ({"settings": {"speed": 1}}, SettingsInvalid),
        ({"settings": {"max_batch_size": 0}}, SettingsInvalid),
    ],
)
def test_what_is_wrong_changes_nothing(session: Session, wanted: dict[str, Any], error: type[Exception]) -> None:
    deployments.deploy(session, "m", version="1", endpoint_name="e")
    before = deployments.desired(session)
    with pytest.raises(error):
        deployments.deploy(session, **{"model_name": "m", "endpoint_name": "e", **wanted})
    assert deployments.desired(session) == before


def test_a_model_and_a_version_with_long_names_need_a_named_endpoint(session: Session, add: Registrar) -> None:
    add("m" * 100, "v" * 64)
    with pytest.raises(NameInvalid, match="longer"):
        deployments.deploy(session, "m" * 100)
    assert deployments.deploy(session, "m" * 100, endpoint_name="e" * 128).endpoint_name == "e" * 128


def test_a_deleted_version_is_not_deployed(session: Session) -> None:
    versions.delete_version(session, "m", "3")
    with pytest.raises(VersionNotFound):
        deployments.deploy(session, "m", version="3")
    assert deployments.deploy(session, "m").version == "2"


def test_a_swap_keeps_the_settings_and_the_group_that_it_does_not_name(session: Session) -> None:
    settings = {"max_batch_size": 7, "hosts": 2}
    first = deployments.deploy(session, "m", version="1", endpoint_name="e", settings=settings, worker_group="gpu")
    second = deployments.deploy(session, "m", version="2", endpoint_name="e", settings={"hosts": 3})
    assert (second.version, second.revision, second.worker_group) == ("2", 2, "gpu")
    assert (second.settings.max_batch_size, second.settings.hosts) == (7, 3)
    assert second.deployed_at > first.deployed_at
    assert deployments.deploy(session, "m", version="2", endpoint_name="e", worker_group="cpu").worker_group == "cpu"


def test_a_swap_can_go_to_another_model(session: Session, add: Registrar) -> None:
    add("other", artifact=b"other")
    deployments.deploy(session, "m", endpoint_name="e")
    swapped = deployments.deploy(session, "other", endpoint_name="e")
    assert (swapped.model_name, swapped.version) == ("other", "1")
    assert swapped.artifact_sha256 == versions.get_version(session, "other", "1").artifact_sha256
    assert deployments.serving(session, "m") == []


@pytest.mark.parametrize("policy", POLICIES)
def test_undeploy_changes_what_is_intended_and_nothing_else(session: Session, policy: str) -> None:
    deployed = deployments.deploy(session, "m", endpoint_name="e", settings={"hosts": 2}, worker_group="gpu")
    undeployed = deployments.undeploy(session, "e", policy)
    assert undeployed == replace(deployed, intent=Intent(policy), revision=2, updated_at=undeployed.updated_at)
    assert undeployed.updated_at > deployed.updated_at
    assert deployments.find(session, "e") == undeployed


def test_undeploying_drains_unless_told_otherwise_and_again_changes_the_policy(session: Session) -> None:
    deployments.deploy(session, "m", endpoint_name="e")
    assert deployments.undeploy(session, "e").intent is Intent.DRAIN
    assert deployments.undeploy(session, "e", "reject").intent is Intent.REJECT
    assert deployments.undeploy(session, "e", "park").revision == 4


@pytest.mark.parametrize("policy", ["serve", "", "burn", None])
def test_there_are_three_policies(session: Session, policy: Any) -> None:
    deployed = deployments.deploy(session, "m", endpoint_name="e")
    with pytest.raises(SettingsInvalid, match="drain, reject and park"):
        deployments.undeploy(session, "e", policy)
    assert deployments.find(session, "e") == deployed


@pytest.mark.parametrize("name", ["never", "", "a" * 500, "\u0000", 5])
def test_what_was_never_deployed_is_not_found(session: Session, name: Any) -> None:
    assert deployments.find(session, name) is None
    with pytest.raises(DeploymentNotFound):
        deployments.undeploy(session, name)
    with pytest.raises(DeploymentNotFound):
        deployments.resolve(session, name)


@pytest.mark.parametrize("policy", POLICIES)
def test_a_deploy_after_an_undeploy_keeps_what_it_does_not_name(session: Session, policy: str) -> None:
    deployments.deploy(session, "m", version="1", endpoint_name="e", settings={"hosts": 2}, worker_group="gpu")
    deployments.undeploy(session, "e", policy)
    again = deployments.deploy(session, "m", endpoint_name="e", settings={"max_batch_size": 7})
    assert (again.intent, again.version, again.revision, again.worker_group) == (Intent.SERVE, "1", 3, "gpu")
    assert again.settings == ServingSettings(max_batch_size=7, hosts=2)


def test_a_reset_sets_what_is_not_named_to_its_default(session: Session) -> None:
    deployments.deploy(session, "m", version="1", endpoint_name="e", settings={"hosts": 2}, worker_group="gpu")
    again = deployments.deploy(session, "m", endpoint_name="e", settings={"max_batch_size": 7}, reset=True)
    assert (again.version, again.worker_group) == ("1", "default")
    assert again.settings == ServingSettings(max_batch_size=7)


def test_an_endpoint_keeps_its_version_until_a_deploy_names_one_or_another_model(
    session: Session, add: Registrar
) -> None:
    add("other")
    add("other")
    deployments.deploy(session, "m", version="1", endpoint_name="e")
    assert deployments.deploy(session, "m", endpoint_name="e", settings={"hosts": 2}).version == "1"
    assert deployments.deploy(session, "m", version="2", endpoint_name="e").version == "2"
    assert deployments.deploy(session, "m", endpoint_name="e").version == "2"
    assert deployments.deploy(session, "other", endpoint_name="e").version == "2"
    assert deployments.deploy(session, "m", endpoint_name="e").version == "3"
    assert deployments.deploy(session, "m").endpoint_name == "m-v3"


def test_an_endpoint_whose_version_was_deleted_takes_the_latest(session: Session) -> None:
    deployments.deploy(session, "m", version="1", endpoint_name="e")
    deployments.undeploy(session, "e")
    versions.delete_version(session, "m", "1")
    assert deployments.deploy(session, "m", endpoint_name="e").version == "3"


def test_configure_changes_settings_and_group_and_nothing_else(session: Session) -> None:
    deployments.deploy(session, "m", version="1", endpoint_name="e", settings={"hosts": 2, "timeout_s": 5.0})
    changed = deployments.configure(session, "e", settings={"hosts": 3, "timeout_s": None}, worker_group="gpu")
    assert (changed.version, changed.worker_group, changed.revision) == ("1", "gpu", 2)
    assert changed.settings == ServingSettings(hosts=3)
    assert deployments.configure(session, "e", reset=True).settings == ServingSettings()


def test_a_parked_endpoint_is_configured_and_stays_parked_and_one_that_is_gone_is_not(session: Session) -> None:
    deployments.deploy(session, "m", endpoint_name="e")
    deployments.undeploy(session, "e", "park")
    assert deployments.configure(session, "e", settings={"hosts": 3}).intent is Intent.PARK
    deployments.undeploy(session, "e")
    with pytest.raises(DeploymentUndeployed):
        deployments.configure(session, "e", settings={"hosts": 3})
    with pytest.raises(DeploymentNotFound):
        deployments.configure(session, "never", settings={"hosts": 3})
    found = deployments.find(session, "e")
    assert found is not None
    assert found.revision == 4


@pytest.mark.parametrize(
    ("wanted", "error"),
    [
        ({"settings": {"speed": 1}}, SettingsInvalid),
        ({"settings": {"speed": None}}, SettingsInvalid),
        ({"settings": {"hosts": 0}}, SettingsInvalid),
        ({"worker_group": "a b"}, NameInvalid),
        ({"revision": 7}, DeploymentChanged),
    ],
)
def test_a_wrong_configure_changes_nothing(session: Session, wanted: dict[str, Any], error: type[Exception]) -> None:
    deployments.deploy(session, "m", endpoint_name="e")
    before = deployments.desired(session)
    with pytest.raises(error):
        deployments.configure(session, "e", **wanted)
    assert deployments.desired(session) == before


def test_a_parked_endpoint_goes_on_as_it_was(session: Session) -> None:
    deployments.deploy(session, "m", version="1", endpoint_name="e", settings={"hosts": 2}, worker_group="gpu")
    deployments.undeploy(session, "e", "park")
    again = deployments.deploy(session, "m", version="2", endpoint_name="e")
    assert (again.intent, again.version, again.settings.hosts, again.worker_group) == (Intent.SERVE, "2", 2, "gpu")


def test_an_undeployed_endpoint_keeps_a_version_that_is_deleted_meanwhile(session: Session) -> None:
    deployments.deploy(session, "m", version="1", endpoint_name="e")
    deployments.undeploy(session, "e")
    versions.delete_version(session, "m", "1")
    assert [each.version for each in deployments.desired(session)] == ["1"]


def test_what_names_a_revision_is_done_to_that_one_and_to_no_other(session: Session) -> None:
    deployed = deployments.deploy(session, "m", version="1", endpoint_name="prod", revision=0)
    deployments.deploy(session, "m", version="2", endpoint_name="prod", revision=deployed.revision)
    session.commit()
    for revision in (0, 1, 3):
        with pytest.raises(DeploymentChanged, match=f"its revision is now 2, not {revision}"):
            deployments.deploy(session, "m", version="3", endpoint_name="prod", revision=revision)
        with pytest.raises(DeploymentChanged):
            deployments.undeploy(session, "prod", revision=revision)
        session.rollback()
    with pytest.raises(DeploymentChanged, match="there is now no deployment of this name"):
        deployments.deploy(session, "m", endpoint_name="new", revision=1)
    session.rollback()
    assert deployments.find(session, "new") is None
    [found] = deployments.desired(session)
    assert (found.version, found.revision, found.intent) == ("2", 2, Intent.SERVE)
    assert deployments.undeploy(session, "prod", revision=2).intent is Intent.DRAIN


def test_desired_are_all_of_a_group_also_the_undeployed(session: Session) -> None:
    for endpoint_name, group in (("b", None), ("c", "gpu"), ("a", None)):
        deployments.deploy(session, "m", endpoint_name=endpoint_name, worker_group=group)
    deployments.undeploy(session, "a")
    assert [each.endpoint_name for each in deployments.desired(session)] == ["a", "b", "c"]
    assert [each.endpoint_name for each in deployments.desired(session, "default")] == ["a", "b"]
    assert [each.endpoint_name for each in deployments.desired(session, "gpu")] == ["c"]
    assert deployments.desired(session, "nobody") == []


def test_serving_are_those_of_a_model_or_of_a_version(session: Session, add: Registrar) -> None:
    add("other")
    deployments.deploy(session, "other")
    for version, endpoint_name in (("1", "a"), ("2", "b"), ("2", "c"), ("3", "d")):
        deployments.deploy(session, "m", version=version, endpoint_name=endpoint_name)
    deployments.undeploy(session, "d", "park")
    assert sorted(each.endpoint_name for each in deployments.serving(session, "m")) == ["a", "b", "c"]
    assert sorted(each.endpoint_name for each in deployments.serving(session, "m", "2")) == ["b", "c"]
    assert deployments.serving(session, "m", "3") == []


def test_a_model_resolves_to_its_latest_deployed_version(session: Session) -> None:
    deployments.deploy(session, "m", version="2", endpoint_name="two")
    deployments.deploy(session, "m", version="1", endpoint_name="one")
    assert deployments.resolve(session, "m").endpoint_name == "two"
    assert deployments.resolve(session, "m", "1").endpoint_name == "one"
    deployments.undeploy(session, "two")
    assert deployments.resolve(session, "m").endpoint_name == "one"
    with pytest.raises(DeploymentNotFound, match="'m, version 2'"):
        deployments.resolve(session, "m", "2")


def test_of_names_and_of_equal_versions_the_last_deployed_is_the_latest(session: Session, add: Registrar) -> None:
    for endpoint_name in ("b", "a"):
        deployments.deploy(session, "m", version="3", endpoint_name=endpoint_name)
    assert deployments.resolve(session, "m").endpoint_name == "a"
    deployments.deploy(session, "m", version="3", endpoint_name="b")
    assert deployments.resolve(session, "m").endpoint_name == "b"
    add("m", "beta")
    deployments.deploy(session, "m", version="beta", endpoint_name="z")
    assert deployments.resolve(session, "m").endpoint_name == "z"
    deployments.deploy(session, "m", version="1", endpoint_name="y")
    assert deployments.resolve(session, "m").endpoint_name == "y"


def test_a_row_that_a_newer_release_wrote_is_read_and_kept(session: Session) -> None:
    deployments.deploy(session, "m", version="1", endpoint_name="prod", settings={"hosts": 2})
    row = session.get_one(DeploymentRow, "prod")
    row.settings = {**row.settings, "future": {"a": 1}, "events": "summed", "max_batch_size": 7}
    version = session.scalars(select(VersionRow).where(VersionRow.model_name == "m", VersionRow.version == "1")).one()
    version.signature = {**version.signature, "unit": "mm"}
    session.flush()

    found = deployments.find(session, "prod")
    assert found is not None
    assert found.settings == ServingSettings(hosts=2, max_batch_size=7)

    deployments.deploy(session, "m", version="1", endpoint_name="prod", settings={"hosts": 3})
    stored = session.get_one(DeploymentRow, "prod").settings
    assert stored.items() >= {"future": {"a": 1}, "hosts": 3, "max_batch_size": 7}.items()


def test_deployments_that_have_not_changed_are_not_read_again(session: Session) -> None:
    for name in ("a", "b", "c"):
        deployments.deploy(session, "m", version="1", endpoint_name=name)
    known = deployments.desired(session)
    deployments.deploy(session, "m", version="2", endpoint_name="b")
    deployments.undeploy(session, "c", "park")
    deployments.deploy(session, "m", endpoint_name="d", worker_group="other")
    found = deployments.desired(session, "default", known)
    assert found == deployments.desired(session, "default")
    assert [each.endpoint_name for each in found if any(each is one for one in known)] == ["a"]
    # Another group has it now, and a deployment that this one has lost is none of its.
    deployments.configure(session, "a", worker_group="other")
    assert [each.endpoint_name for each in deployments.desired(session, "default", found)] == ["b", "c"]


def test_a_candidate_is_read_again_each_time(session: Session) -> None:
    deployments.deploy(session, "m", version="1", endpoint_name="a")
    known = deployments.desired(session)
    shadow = Placement("t", "m", "2", weight=0.0, shadow_share=1.0, salt="s", on_failure="stable")
    candidates.place(session, "a", shadow, Action.SHADOW)
    [with_candidate] = deployments.desired(session, None, known)
    assert with_candidate.candidate is not None
    candidates.delete(session, "a")
    [without] = deployments.desired(session, None, [with_candidate])
    assert without.candidate is None
