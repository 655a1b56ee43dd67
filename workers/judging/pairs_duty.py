"""The duty that reads pairs: the answers of both versions to one job, which workers put into a stream.

The id of the last pair that was read is stored with what was found, in one conditional update. So each pair counts
once, also after a crash and with several background processes, and the stream needs no consumers of its own.
"""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, cast

import msgspec

from registry.database import Database, default_database
from registry.judging import rollouts, shadows
from registry.judging.rollouts import Rollout
from registry.judging.shadows import Shadow
from workers import keys
from workers.judging.comparison.comparison import Comparison
from workers.judging.comparison.pairs import Answer, ComparisonOptions, Pair
from workers.judging.comparison.tallies.agreement import rows_of
from workers.platform.redis.client import records_client

_log = logging.getLogger(__name__)

INTERVAL_S = 2.0
_READ_AT_ONCE = 500
#: A worker that repeats a job may write its pair again: so many job ids are remembered.
_REMEMBERED_JOBS = 1_000
#: For the rules of a rollout, numbers disagree if they differ by more than a tenth, and probabilities if another class
#: is the most probable one: those of another version are always other ones.
AGREEMENT = ComparisonOptions(relative_tolerance=0.1, probability_tolerance=1.0)
_FIRST_ID = "0-0"

Trial = Rollout | Shadow


@dataclass(slots=True)
class Found:
    """What the pairs of a trial have shown so far."""

    #: The last pair that was read of the stream, of any trial.
    read_id: str = _FIRST_ID
    #: The last pair of this trial; what is stored.
    pairs_id: str = _FIRST_ID
    pairs: int = 0
    disagreements: int = 0
    job_ids: dict[str, None] = field(default_factory=dict)
    comparison: Comparison = field(default_factory=lambda: Comparison(ComparisonOptions()))
    #: Of the trial's row, with which this was read or stored. Another one may have other pairs, or has forgotten some.
    revision: int = 0

    @classmethod
    def stored(cls, state: dict[str, Any] | None, revision: int) -> Found:
        """Return what a trial's row has."""
        if state is None:
            return cls(revision=revision)
        last, job_ids = state["pairs_id"], dict.fromkeys(state["job_ids"])
        comparison = Comparison.restored(state["comparison"])
        return cls(last, last, state["pairs"], state["disagreements"], job_ids, comparison, revision)

    def add(self, pair_id: str, pair: Pair) -> None:
        """Count a pair, unless its job was counted."""
        self.pairs_id = pair_id
        if pair.job_id in self.job_ids:
            return
        self.job_ids[pair.job_id] = None
        if len(self.job_ids) > _REMEMBERED_JOBS:
            del self.job_ids[next(iter(self.job_ids))]
        self.comparison.add(pair)
        # An error is the business of another rule.
        if pair.stable.predictions is not None and pair.candidate.predictions is not None:
            self.pairs += 1
            self.disagreements += not _agree(pair.stable, pair.candidate)

    def figures(self) -> dict[str, Any]:
        """Return what decisions need."""
        return {"pairs": self.pairs, "disagreements": self.disagreements, "pairs_id": self.pairs_id}

    def state(self) -> dict[str, Any]:
        """Return all of it as JSON."""
        return {**self.figures(), "job_ids": list(self.job_ids), "comparison": self.comparison.state()}


class PairsDuty:
    """Compares the answers of candidates."""

    name = "comparing the answers of candidates"

    def __init__(self, database: Database | None = None) -> None:
        self._database = database
        self._found: dict[str, Found] = {}

    def run(self, stopping: threading.Event) -> None:
        """Read pairs until `stopping` is set.

        Raises:
            redis.RedisError: Redis can't be reached.
            RegistryUnavailable: the registry can't be reached.
        """
        while not stopping.is_set():
            self.read()
            stopping.wait(INTERVAL_S)

    def read(self) -> None:
        """Read the pairs that have come since the last time, and store what they show."""
        database = self._database or default_database()
        with database.session() as session:
            trials: list[Trial] = [*rollouts.active(session), *shadows.active(session)]
        self._found = {each.id: self._found[each.id] for each in trials if each.id in self._found}
        for trial in trials:
            self._read_of(database, trial)
        if len(self._found) == len(trials):
            self._trim()

    def _read_of(self, database: Database, trial: Trial) -> None:
        found = self._found.get(trial.id)
        if found is None or found.revision != trial.revision:
            # It is new here, another process has read on, or jobs were forgotten.
            with database.session() as session:
                of_kind = rollouts if isinstance(trial, Rollout) else shadows
                found = Found.stored(of_kind.comparison(session, trial.id), trial.revision)
        before = found.pairs_id
        while entries := _entries(found.read_id):
            for entry_id, trial_id, document in entries:
                found.read_id = entry_id
                if trial_id == trial.id and (pair := _parsed(document, entry_id)) is not None:
                    found.add(entry_id, pair)
            if len(entries) < _READ_AT_ONCE:
                break
        self._found[trial.id] = found
        if found.pairs_id == before:
            return
        if self._stored(database, trial, found):
            found.revision = trial.revision + 1
        else:
            del self._found[trial.id]

    @staticmethod
    def _stored(database: Database, trial: Trial, found: Found) -> bool:
        with database.session() as session:
            if isinstance(trial, Rollout):
                is_stored = rollouts.save_pairs(session, trial, found.figures(), found.state())
            else:
                is_stored = shadows.save_pairs(session, trial, found.figures(), found.state())
            session.commit()
        return is_stored

    def _trim(self) -> None:
        """Drop from the stream what each trial has read and stored; without a trial, all that ended ones have left."""
        if not self._found:
            records_client().xtrim(keys.PAIRS, maxlen=0, approximate=False)
            return
        records_client().xtrim(keys.PAIRS, minid=min(map(_next_id, self._found.values()), key=_order))


def _entries(after: str) -> list[tuple[str, str, bytes]]:
    """Return the next pairs of the stream: the id of each, its trial, and its document."""
    replies = cast("Iterable[Any]", records_client().xrange(keys.PAIRS, min=f"({after}", count=_READ_AT_ONCE))
    return [
        (entry_id.decode(), entry.get(b"trial_id", b"").decode(), entry.get(b"pair", b""))
        for entry_id, entry in replies
    ]


def _parsed(document: bytes, entry_id: str) -> Pair | None:
    try:
        return msgspec.json.decode(document, type=Pair)
    except (msgspec.MsgspecError, json.JSONDecodeError) as error:
        _log.warning("pair %s of the stream can't be read, and is left out: %s", entry_id, error)
        return None


def _agree(stable: Answer, candidate: Answer) -> bool:
    rows = rows_of(stable, candidate, AGREEMENT)
    return all(row.agrees(AGREEMENT, integers_are_numbers=False) for row in rows)


def _next_id(found: Found) -> str:
    milliseconds, number = found.read_id.split("-")
    return f"{milliseconds}-{int(number) + 1}"


def _order(entry_id: str) -> tuple[int, int]:
    milliseconds, number = entry_id.split("-")
    return int(milliseconds), int(number)
