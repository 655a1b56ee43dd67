"""Runs the chosen figures: the systems started once, side by side, then the figures that start their own."""

from __future__ import annotations

import sys
import tempfile
import time
import traceback
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from bench.catalogue import ALONE, SIDE_BY_SIDE
from bench.models import write_pickles
from bench.report import Results
from bench.scale import Scale
from bench.summary import Sample
from bench.systems import mlserver
from bench.systems.base import System, Unsupported
from bench.systems.floor import Floor, FloorService
from bench.systems.queuecast import Queuecast
from bench.systems.tutorial import Tutorial


class Runner:
    """Collects samples; a figure that fails is noted, and the rest goes on."""

    def __init__(self, scale: Scale, results: Results) -> None:
        self.complete = True
        self._scale = scale
        self._results = results

    def side_by_side(self, figures: Sequence[str], systems: Sequence[System]) -> None:
        """Measure each figure on all systems in each round, in alternating order."""
        for number in range(self._scale.rounds):
            for figure in figures:
                for system in systems if number % 2 == 0 else reversed(systems):
                    with self._noting(f"{figure}, {system.name}, round {number + 1}"):
                        for found in SIDE_BY_SIDE[figure][1](system, self._scale):
                            self._keep(Sample(found.metric, found.model, system.name, number, found.value))

    def alone(self, figures: Sequence[str], folder: Path, pickles: Path) -> None:
        """Measure figures that start services of their own, one after the other."""
        for figure in figures:
            with self._noting(figure):
                numbers: dict[tuple[str, str, str, float], int] = {}
                for found in ALONE[figure][1](folder / figure, pickles, self._scale):
                    key = (found.metric, found.model, found.system, found.at)
                    numbers[key] = numbers.get(key, -1) + 1
                    self._keep(Sample(*key[:3], numbers[key], found.value, found.at))

    def _keep(self, sample: Sample) -> None:
        self._results.samples.append(sample)
        print(f"    {sample.metric}, {sample.model}, {sample.system}: {sample.value:.4g}", file=sys.stderr, flush=True)

    @contextmanager
    def _noting(self, what: str) -> Iterator[None]:
        began = time.monotonic()
        print(what, file=sys.stderr, flush=True)
        try:
            yield
        except Unsupported as error:
            self._results.note(f"Left out, {what.rpartition(', round')[0] or what}: {error}.")
        except Exception as error:  # noqa: BLE001 - whatever a figure raises, the others are measured
            traceback.print_exc()
            self.complete = False
            self._results.note(f"**Failed**, {what}: {_told(error)}")
        print(f"    {time.monotonic() - began:.1f} s", file=sys.stderr, flush=True)


def _told(error: Exception) -> str:
    """Return what it is and its first line; some say nothing, such as a time-out."""
    return f"{type(error).__name__}: {str(error).partition(chr(10))[0]:.300}"


def run(figures: Sequence[str], systems: Sequence[str], scale: Scale, results: Results) -> bool:
    """Measure; return whether nothing failed. Every process that was started has ended afterwards."""
    runner = Runner(scale, results)
    with tempfile.TemporaryDirectory(prefix="queuecast-bench-") as name:
        folder = Path(name)
        print("fitting the models", file=sys.stderr, flush=True)
        pickles = write_pickles(folder / "models")
        chosen = [figure for figure in figures if figure in SIDE_BY_SIDE]
        if chosen:
            with started(systems, folder, pickles) as running, _peer(systems, folder, pickles, results) as peer:
                runner.side_by_side(chosen, [*running, *peer])
        runner.alone([figure for figure in figures if figure in ALONE], folder, pickles)
    return runner.complete


@contextmanager
def started(names: Sequence[str], folder: Path, pickles: Path) -> Iterator[list[System]]:
    """Start the systems, in this order, and end them."""
    with ExitStack() as stack:
        running: list[System] = []
        if "queuecast" in names:
            running.append(stack.enter_context(Queuecast(folder / "queuecast")))
        if "tutorial" in names:
            running.append(stack.enter_context(Tutorial(folder / "tutorial", pickles)))
        batches = [batch for name, batch in (("floor", 1), ("floor-64", 64)) if name in names]
        if batches:
            service = stack.enter_context(FloorService(folder / "floor", pickles, batches))
            running += [Floor(service, batch) for batch in batches]
        yield running


@contextmanager
def _peer(names: Sequence[str], folder: Path, pickles: Path, results: Results) -> Iterator[list[System]]:
    """Start MLServer if it is asked for, and end it; a note says why if it can't be."""
    with ExitStack() as stack:
        running: list[System] = []
        if mlserver.MLServer.name in names:
            try:
                running.append(stack.enter_context(mlserver.MLServer(folder / "mlserver", pickles)))
            except Unsupported as error:
                results.note(f"Left out, mlserver: {error}.")
            except Exception as error:  # noqa: BLE001 - the others are measured without their peer
                traceback.print_exc()
                results.note(f"**Failed to start**, mlserver: {_told(error)}")
        yield running
