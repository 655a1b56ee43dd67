"""The jobs that an evaluation replays, chosen once and kept in a file of the artifact store: a restart has the same.

Of the journal's jobs it takes a uniform sample: those with the smallest hashes of evaluation and job. So each client
and each hour has its share, and the report's intervals hold. The newest jobs would be those of the last minutes alone.

    evaluations/<evaluation id>.ndjson.gz      one job a line; it is deleted after the evaluation
"""

from __future__ import annotations

import gzip
import heapq
import io
import threading
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, fields, replace
from functools import lru_cache
from itertools import count, takewhile
from typing import Any

from registry import settings
from registry.artifacts.named_files import NamedFiles
from registry.judging.evaluations import Evaluation
from workers.journal import feedback, reading
from workers.journal.entry import JournalEntry
from workers.journal.feedback import Truth
from workers.judging.comparison.forgetting import ForgottenJobs
from workers.judging.comparison.pairs import Answer
from workers.platform import fast_json
from workers.queues import dealing

_FOLDER = "evaluations"
#: The most jobs of an evaluation; they are chosen in memory.
MAX_JOBS = 50_000
#: The most bytes of a sample, as JSON: it is in memory while it is written and read.
MAX_BYTES = 256 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class SampledJob:
    """A job to replay."""

    job_id: str
    #: The rows.
    inputs: list[Any]
    #: Whether they came as `inputs`.
    many: bool
    #: The recorded answer of the stable version; None for a row of a dataset.
    stable: Answer | None = None
    #: One for each row, from the dataset or from feedback.
    truths: list[Any] | None = None
    #: How much they count.
    weight: float = 1.0
    owner: str | None = None
    #: When it ended (s since the epoch); None for a row of a dataset.
    finished_at: float | None = None

    @property
    def rows(self) -> dict[str, Any]:
        """The rows as arguments of the task."""
        return {"inputs": self.inputs} if self.many else {"input": self.inputs[0]}

    def encoded(self) -> bytes:
        """Return the job as a line of JSON, without its end."""
        stable = None if self.stable is None else asdict(self.stable)
        document = {"job_id": self.job_id, "inputs": self.inputs, "many": self.many, "stable": stable}
        document |= {"truths": self.truths, "weight": self.weight}
        # Only if they are known: a process that doesn't know these members yet refuses lines that have them.
        newer = {"owner": self.owner, "finished_at": self.finished_at}
        document |= {name: value for name, value in newer.items() if value is not None}
        return fast_json.dumps_celery(document)

    @property
    def is_forgotten(self) -> bool:
        """Whether it is the place of a job that was forgotten after it was chosen."""
        return not self.inputs

    @classmethod
    def decoded(cls, line: bytes) -> SampledJob:
        """Return the job of a line; ignore members of a newer release."""
        document = fast_json.loads(line)
        names = {each.name for each in fields(cls)}
        known = {name: value for name, value in document.items() if name in names}
        stable = known.get("stable")
        return cls(**{**known, "stable": None if stable is None else Answer.from_document(stable)})


_FORGOTTEN = SampledJob("", [], many=False)


def choose(evaluation: Evaluation, outdated: threading.Event | None = None) -> int:
    """Write the sample of an evaluation from the journal; return how many jobs it has.

    Once `outdated` is set, no sample is written, and the answer is 0.

    Raises:
        redis.RedisError: Redis can't be reached.
        ArtifactStoreUnavailable: the artifact store can't be reached or written.
    """
    outdated = outdated or threading.Event()
    candidates = takewhile(lambda _: not outdated.is_set(), _candidates(evaluation))
    found = list(_chosen(evaluation, candidates))
    return 0 if outdated.is_set() else write(evaluation.evaluation_id, found)


def has_jobs(endpoint_name: str, model_name: str, version: str, *, since: float, until: float) -> bool:
    """Whether the journal has a job that this version answered. Raises as `choose`."""
    found = reading.entries(endpoint_name, since=since, until=until)
    return any(_is_of(entry, model_name, version) for entry in found)


def write(evaluation_id: str, lines: Iterable[bytes]) -> int:
    """Write the sample of an evaluation; return how many jobs it has. Raises ArtifactStoreUnavailable."""
    content, number = io.BytesIO(), 0
    with gzip.GzipFile(fileobj=content, mode="wb", compresslevel=1, mtime=0) as file:
        for line in lines:
            file.write(line + b"\n")
            number += 1
    if number:
        _store(settings.load().artifacts_url).write(_name(evaluation_id), content.getvalue())
    return number


def read(evaluation_id: str) -> Iterator[SampledJob]:
    """Yield the jobs of a sample; none if there is no sample. Raises ArtifactStoreUnavailable."""
    content = _store(settings.load().artifacts_url).read(_name(evaluation_id))
    if content is None:
        return
    with gzip.GzipFile(fileobj=io.BytesIO(content)) as file:
        for line in file:
            yield SampledJob.decoded(line)


def forget(evaluation_id: str, jobs: ForgottenJobs) -> int:
    """Empty the places of jobs in a sample, which all keep their numbers; return how many.

    Raises:
        ArtifactStoreUnavailable, ArtifactStoreFull: the sample can't be read or written.
    """
    found = list(read(evaluation_id))
    # Rows of a dataset are no jobs.
    meant = [each.finished_at is not None and jobs.may_mean(asdict(each)) for each in found]
    if any(meant):
        lines = ((_FORGOTTEN if is_meant else each).encoded() for each, is_meant in zip(found, meant, strict=True))
        write(evaluation_id, lines)
    return sum(meant)


def remove(evaluation_id: str) -> None:
    """Delete the sample of an evaluation. Raises ArtifactStoreUnavailable."""
    _store(settings.load().artifacts_url).remove(_name(evaluation_id))


def _candidates(evaluation: Evaluation) -> Iterator[SampledJob]:
    """Yield the jobs of the journal that the stable version answered and that can run again."""
    source = evaluation.source
    truths = feedback.truths(evaluation.endpoint_name, source["since"])
    for entry in reading.entries(evaluation.endpoint_name, since=source["since"], until=source["until"]):
        if _is_of(entry, evaluation.model_name, evaluation.stable_version):
            found = SampledJob(
                entry.job_id,
                entry.inputs,
                entry.many,
                _answer(entry),
                owner=entry.owner,
                finished_at=entry.finished_at,
            )
            yield _with_truth(found, truths[entry.job_id]) if entry.job_id in truths else found


def _with_truth(job: SampledJob, truth: Truth) -> SampledJob:
    return replace(job, truths=truth.of_rows(len(job.inputs), many=job.many), weight=truth.weight)


def _chosen(evaluation: Evaluation, found: Iterable[SampledJob]) -> Iterator[bytes]:
    """Yield the lines of the jobs with the smallest hashes, in the order in which they ended."""
    most, salt = int(evaluation.options["max_jobs"]), f"evaluation {evaluation.evaluation_id}"
    # The largest hash comes first, so that it leaves first.
    heap: list[tuple[float, int, bytes]] = []
    size_bytes, numbers = 0, count()
    for job in found:
        share = dealing.share(salt, job.job_id)
        if len(heap) >= most and share >= -heap[0][0]:
            continue
        line = job.encoded()
        heapq.heappush(heap, (-share, next(numbers), line))
        size_bytes += len(line)
        while len(heap) > most or (size_bytes > MAX_BYTES and len(heap) > 1):
            size_bytes -= len(heapq.heappop(heap)[2])
            most = min(most, max(1, len(heap)))
    yield from (line for _, _, line in sorted(heap, key=lambda each: each[1]))


def _is_of(entry: JournalEntry, model_name: str, version: str) -> bool:
    return bool(entry.inputs) and (entry.model_name, entry.version) == (model_name, version)


def _answer(entry: JournalEntry) -> Answer:
    return Answer(
        version=entry.version,
        predictions=entry.predictions,
        error_code=entry.error_code,
        error_message=entry.error_message,
        predict_ms=entry.predict_ms,
        batch_size=entry.batch_size,
        total_ms=entry.total_ms,
    )


def _name(evaluation_id: str) -> str:
    return f"{_FOLDER}/{evaluation_id}.ndjson.gz"


@lru_cache(maxsize=4)
def _store(url: str) -> NamedFiles:
    return NamedFiles(url)
