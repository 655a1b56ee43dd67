"""What is known of versions: the memory that a host of each adds, and how long a load takes; remembered in Redis."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from redis import RedisError
from redis.asyncio import Redis

from registry.deployments import DesiredDeployment
from workers import keys
from workers.engine.memory.budget import MEBIBYTE, Need

_log = logging.getLogger(__name__)

#: A version that isn't loaded for so long is measured anew.
LIVES_S = 30 * 86_400
#: A guess before the first measurement: a model takes about twice its file, at least once, and the host itself.
_GUESSED_RATIO = 2
_LEAST_GUESSED_RATIO = 1
_GUESSED_HOST_BYTES = 16 * MEBIBYTE
#: The same of a GPU: the weights once, and what CUDA itself takes for each process.
_GUESSED_CUDA_BYTES = 512 * MEBIBYTE
#: A measurement is written if it differs by more than this share.
_SIGNIFICANT_SHARE = 0.05


@dataclass(frozen=True, slots=True)
class VersionFacts:
    """What was measured of a version, on any worker."""

    #: The most private memory of a host, after its warm-up and under batches (bytes).
    host_bytes: int
    #: From the wish for a host until it has the model (ms).
    load_ms: float | None = None
    #: The private memory of a host that has just loaded the model (bytes); None from workers of earlier releases. A
    #: batch may take more for a moment, so it alone says that a version can't ever fit.
    loaded_bytes: int | None = None
    #: The most memory of a GPU that a host had (bytes); None if that was never seen.
    gpu_bytes: int | None = None


def guessed(desired: DesiredDeployment) -> Need:
    """Return a guess of the memory of a host, from the size of the artifact."""
    size_bytes = desired.artifact_size_bytes
    least_bytes = _GUESSED_HOST_BYTES + _LEAST_GUESSED_RATIO * size_bytes
    return Need(_GUESSED_HOST_BYTES + _GUESSED_RATIO * size_bytes, least_bytes=least_bytes)


def _need(desired: DesiredDeployment, known: VersionFacts | None) -> Need:
    guess = guessed(desired)
    if known is None:
        return guess
    if known.loaded_bytes is None:
        return Need(known.host_bytes, least_bytes=guess.start_bytes)
    return Need(max(known.host_bytes, known.loaded_bytes), is_measured=True, least_bytes=known.loaded_bytes)


def _gpu_need(desired: DesiredDeployment, known: VersionFacts | None) -> tuple[int, bool]:
    if known is None or known.gpu_bytes is None:
        return _GUESSED_CUDA_BYTES + desired.artifact_size_bytes, False
    return known.gpu_bytes, True


class Versions:
    """The facts of versions by the checksum of their artifact; belongs to one event loop."""

    def __init__(self, records: Redis) -> None:
        self._records = records
        self._known: dict[str, VersionFacts] = {}

    async def need(self, desired: DesiredDeployment) -> Need:
        """Return the memory that a host of a version adds, as measured on any worker, or else guessed."""
        return _need(desired, (await self.facts([desired.artifact_sha256])).get(desired.artifact_sha256))

    def known_need(self, desired: DesiredDeployment) -> Need:
        """Return the same without a look into Redis, for a version that this worker has loaded."""
        return _need(desired, self._known.get(desired.artifact_sha256))

    async def gpu_need(self, desired: DesiredDeployment) -> tuple[int, bool]:
        """Return the memory of a GPU that a host of a version takes, and whether that was measured."""
        return _gpu_need(desired, (await self.facts([desired.artifact_sha256])).get(desired.artifact_sha256))

    def known_gpu_need(self, desired: DesiredDeployment) -> tuple[int, bool]:
        """Return the same without a look into Redis, for a version that this worker has loaded."""
        return _gpu_need(desired, self._known.get(desired.artifact_sha256))

    async def facts(self, checksums: Sequence[str]) -> dict[str, VersionFacts]:
        """Return what is known of versions, by checksum."""
        unknown = [each for each in dict.fromkeys(checksums) if each not in self._known]
        if unknown:
            try:
                found = await self._records.mget([keys.version_facts(each) for each in unknown])
            except (RedisError, OSError) as error:
                _log.info("reading the measured memory of versions failed (%s): guessing it", error)
                found = []
            parsed = {each: facts for each, text in zip(unknown, found, strict=False) if (facts := _parsed(text))}
            self._known |= parsed
        return {each: self._known[each] for each in checksums if each in self._known}

    async def measured(self, checksum: str, host_bytes: int) -> None:
        """Remember the most memory of a host; small differences are not written."""
        before = self._known.get(checksum)
        if before is None or host_bytes > before.host_bytes * (1 + _SIGNIFICANT_SHARE):
            await self._write(checksum, replace(before or VersionFacts(0), host_bytes=host_bytes))

    async def measured_loaded(self, checksum: str, loaded_bytes: int) -> None:
        """Remember the memory of a host that has just loaded the model; small differences are not written."""
        before = self._known.get(checksum) or VersionFacts(loaded_bytes)
        known_bytes = before.loaded_bytes
        if known_bytes is None or abs(loaded_bytes - known_bytes) > known_bytes * _SIGNIFICANT_SHARE:
            most_bytes = max(before.host_bytes, loaded_bytes)
            await self._write(checksum, replace(before, host_bytes=most_bytes, loaded_bytes=loaded_bytes))

    async def measured_gpu(self, checksum: str, gpu_bytes: int) -> None:
        """Remember the most memory of a GPU that a host had; small differences are not written.

        Nothing is remembered of a version whose other memory is unknown: a host is measured both ways.
        """
        before = self._known.get(checksum)
        if before is not None and gpu_bytes > (before.gpu_bytes or 0) * (1 + _SIGNIFICANT_SHARE):
            await self._write(checksum, replace(before, gpu_bytes=gpu_bytes))

    async def loaded(self, checksum: str, load_ms: float) -> None:
        """Remember how long the last load took, of a version whose memory is known."""
        if (before := self._known.get(checksum)) is not None:
            await self._write(checksum, replace(before, load_ms=load_ms))

    async def _write(self, checksum: str, facts: VersionFacts) -> None:
        self._known[checksum] = facts
        try:
            await self._records.set(keys.version_facts(checksum), json.dumps(_document(facts)), ex=LIVES_S)
        except (RedisError, OSError) as error:
            _log.info("storing the measured memory of a version failed: %s", error)


def _document(facts: VersionFacts) -> Mapping[str, Any]:
    known = {"host_bytes": facts.host_bytes, "load_ms": facts.load_ms, "loaded_bytes": facts.loaded_bytes}
    return known if facts.gpu_bytes is None else {**known, "gpu_bytes": facts.gpu_bytes}


def _parsed(text: bytes | str | None) -> VersionFacts | None:
    try:
        found = json.loads(text or b"null")
        if found is None:
            return None
        host_bytes = int(found["host_bytes"])
        loaded_bytes, gpu_bytes = (
            None if (value := found.get(name)) is None else int(value) for name in ("loaded_bytes", "gpu_bytes")
        )
        return VersionFacts(host_bytes, found.get("load_ms"), loaded_bytes, gpu_bytes)
    except (ValueError, KeyError, TypeError) as error:
        _log.warning("ignoring unreadable facts of a version: %r", error)
        return None
