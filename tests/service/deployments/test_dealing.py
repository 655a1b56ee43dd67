"""Jobs that come by any way meet both versions of a trial, and a sticky key keeps its version as the weight grows."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.calls import expect
from tests.support.models import Echo, Gate
from tests.support.service import trials, ways_in
from tests.support.service.stack import Stack
from tests.support.waiting import eventually
from workers.engine.serving.trials import copies
from workers.measures import arms

ENDPOINT = "dealt"
#: Jobs beyond those that a backlog takes.
TOO_MANY = 200


@pytest.fixture(scope="module")
def trial(service: Stack) -> Iterator[str]:
    """An endpoint with two versions; returns the id of the trial."""
    service.register(ENDPOINT, Echo("1"))
    service.register(ENDPOINT, Echo("2"))
    service.deploy(ENDPOINT, version="1", endpoint_name=ENDPOINT)
    yield trials.place(service, ENDPOINT, weight=0.0, shadow_share=0.0)
    service.undeploy(ENDPOINT, "reject", wait_s=0)


@pytest.fixture(scope="module", params=[0.3, 0.7])
def weight(service: Stack, trial: str, request: pytest.FixtureRequest) -> float:
    """The weight of the candidate, which grows."""
    trials.set_weight(service, ENDPOINT, request.param)
    return float(request.param)


@pytest.mark.parametrize("way", ways_in.WAYS)
def test_each_job_is_answered_by_the_version_of_its_sticky_key_or_else_of_its_id(
    service: Stack, weight: float, way: str
) -> None:
    ways_in.check_dealing(service, ENDPOINT, weight, way)


def test_a_shadow_that_can_not_keep_up_sheds_copies_and_no_caller_waits_for_it(
    service: Stack, name: str, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    service.register(name, Echo("1"))
    service.register(name, Gate("2"))
    service.deploy(name, version="1", endpoint_name=name)
    trial_id = trials.place(service, name, weight=0.0, shadow_share=1.0)
    rows = [str(gate), *(f"row {number}" for number in range(copies.MOST_COPIES + TOO_MANY))]
    ids = expect(202, service.api.post(f"/predict/{name}/bulk", json=[{"input": row} for row in rows]))["job_ids"]
    assert [each["prediction"] for each in service.outcomes(ids)] == [["1", row] for row in rows]

    def counted(*names: str) -> int:
        found = trials.figures(service, trial_id).shadow
        return sum(found[each] for each in names)

    eventually(lambda: counted(arms.COPIES_SHED) > 0, 20)
    assert counted(arms.COPIES_SHED) <= len(rows) - copies.MOST_COPIES
    gate.touch()
    eventually(lambda: counted(arms.COPIES_SHED, arms.COPIES_PREDICTED) == len(rows), 30)
