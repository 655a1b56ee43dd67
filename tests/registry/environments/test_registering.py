"""`register()` with an environment: the version has it, and the model is tried in this program's own packages."""

from __future__ import annotations

import pytest
from sqlalchemy import func, select

from registry import settings, versions
from registry.database.tables import EnvironmentRow
from registry.environments import environment as environments
from registry.errors import EnvironmentNotFound, EnvironmentsOff, EnvironmentUnresolvable
from registry.settings import RegistrySettings
from tests.registry import toys
from tests.registry.conftest import RoundTrip

WANTED = {"requirements": ["polite"], "python": "3.12"}


@pytest.fixture
def _allowed_here(allowed: RegistrySettings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "load", lambda: allowed)


@pytest.mark.usefixtures("_allowed_here")
def test_a_version_has_the_environment_that_it_was_registered_with(round_trip: RoundTrip) -> None:
    first, again = (round_trip.register(toys.double, input_example=2.5, environment=WANTED) for _ in range(2))
    plain = round_trip.register(toys.double, input_example=2.5)
    found = environments.get(round_trip.session, first.environment_sha256 or "")
    assert (found.python, found.packages) == ("3.12", ["greeting==1.0", "polite==1.0"])
    assert again.environment_sha256 == first.environment_sha256
    assert plain.environment_sha256 is None
    assert round_trip.session.scalar(select(func.count()).select_from(EnvironmentRow)) == 1
    with pytest.raises(EnvironmentNotFound):
        environments.get(round_trip.session, "0" * 64)


@pytest.mark.usefixtures("_allowed_here")
def test_a_version_whose_environment_can_not_be_locked_is_not_registered(round_trip: RoundTrip) -> None:
    with pytest.raises(EnvironmentUnresolvable):
        round_trip.register(toys.double, input_example=2.5, environment={"requirements": ["absent"]})
    assert versions.list_models(round_trip.session) == []


def test_without_permission_a_version_with_an_environment_is_not_registered(round_trip: RoundTrip) -> None:
    with pytest.raises(EnvironmentsOff):
        round_trip.register(toys.double, input_example=2.5, environment=WANTED)
    assert versions.list_models(round_trip.session) == []
