"""`make bench`: Queuecast and what people would use instead, side by side on one machine.

Such as:
  python -m bench                               everything, in 20 minutes
  python -m bench --quick                       the most telling figures, in under 3 minutes
  python -m bench --only drain,closed --rounds 5
  python -m bench --quick --only latency --systems queuecast

Four systems are started as processes of their own, the first three with a private Redis: Queuecast; "tutorial", which
is Flask, gunicorn and Celery as their tutorials put them together (bench/tutorial); "floor", a bare loop on redis-py,
one by one and in batches of 64 (bench/floor); and "mlserver", a peer that has no queue (`make mlserver` installs it;
without it, its column is empty). Each round measures every figure on all of them, in
alternating order. Ratios are of values of the same round, and the median of those is what the table says: the
machine's speed is in both. Run it on a machine that does nothing else.

The table goes to stdout, progress to stderr. Exit code 1 if a figure failed; the table says which and why.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

from bench import machine, report
from bench.catalogue import FIGURES, QUICK_FIGURES, SYSTEMS
from bench.figures import curves
from bench.plots import BATCH_PLOT, LOAD_PLOT, draw
from bench.report import Results
from bench.running import run
from bench.scale import FULL, QUICK, TINY, Scale
from bench.studies.profiles import breakdown
from bench.summary import Sample

_DOCS = machine.REPOSITORY / "docs"
_PAGE = _DOCS / "explanation" / "performance.md"
_JSON = _DOCS / "performance.json"
_IMAGES = _DOCS / "images"


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    head, _, rest = (__doc__ or "").partition("\n")
    made = argparse.ArgumentParser(
        prog="python -m bench",
        description=head,
        epilog=rest + "\nfigures:\n" + "\n".join(f"  {name:<14}{text}" for name, (text, _) in FIGURES.items()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("--quick", action="store_true", help="fewer figures, rounds and jobs: under 3 minutes")
    made.add_argument(
        "--tiny", action="store_true", help="so few jobs that the numbers say nothing: a test of the bench"
    )
    made.add_argument("--only", type=_figures, metavar="FIGURE,…", help="these figures alone (names below)")
    made.add_argument("--systems", type=_systems, default=list(SYSTEMS), metavar="SYSTEM,…", help=", ".join(SYSTEMS))
    made.add_argument("--rounds", type=int, help="how often each figure is measured")
    made.add_argument(
        "--earlier", type=Path, metavar="JSON", help="show the results of an earlier run; measure nothing"
    )
    made.add_argument("--output", type=Path, help="the JSON file (default: docs/performance.json of a full run)")
    made.add_argument(
        "--write-docs", action="store_true", help="put table, breakdown and plots into docs/explanation/performance.md"
    )
    return made


def _figures(text: str) -> list[str]:
    return _chosen(text, list(FIGURES), "figure")


def _systems(text: str) -> list[str]:
    return _chosen(text, list(SYSTEMS), "system")


def _chosen(text: str, known: list[str], what: str) -> list[str]:
    names = text.split(",")
    unknown = [name for name in names if name not in known]
    if unknown:
        raise argparse.ArgumentTypeError(f"there is no {what} {', '.join(unknown)}; there are {', '.join(known)}")
    return names


def _scale(options: argparse.Namespace) -> Scale:
    scale = TINY if options.tiny else QUICK if options.quick else FULL
    return replace(scale, rounds=options.rounds) if options.rounds else scale


def _leave(_number: int, _frame: object) -> NoReturn:
    raise SystemExit("ended by a signal")


def sections(samples: Sequence[Sample]) -> list[str]:
    """Return what follows the table on the page: the breakdown and the plots, as far as they were measured."""
    found = []
    if steps := breakdown.table(samples):
        found.append("### Where the time of one job goes\n\n" + "\n".join(steps))
    measured = {each.metric for each in samples}
    for metric, title, name in (
        (curves.LOAD_P50, "Latency against load", LOAD_PLOT),
        (curves.BATCH_RATE, "Throughput against the size of batch", BATCH_PLOT),
    ):
        if metric in measured:
            found.append(f"### {title}\n\n![{title}]({os.path.relpath(_IMAGES / name, _PAGE.parent)})")
    return found


def _run(figures: Sequence[str], systems: Sequence[str], scale: Scale, results: Results) -> bool:
    try:
        return run(figures, systems, scale, results)
    except KeyboardInterrupt:
        results.note("**Ended early**, by Ctrl-C.")
        return False


def main() -> int:
    """Run the bench; return the exit code."""
    options = parser().parse_args()
    signal.signal(signal.SIGTERM, _leave)
    if options.earlier:
        results, complete = report.read_json(options.earlier), True
    else:
        results, complete = _measured(options)
    print(report.markdown(results))
    if options.write_docs and complete:
        draw(results.samples, _IMAGES)
        report.write_docs(results, _PAGE, sections(results.samples))
    return 0 if complete else 1


def _measured(options: argparse.Namespace) -> tuple[Results, bool]:
    """Measure what the options say, and keep it as JSON; return it, and whether nothing failed."""
    scale = _scale(options)
    small = options.quick or options.tiny
    figures = options.only or (QUICK_FIGURES if small else list(FIGURES))
    results = Results(machine.about(" ".join(["python -m bench", *sys.argv[1:]])) | {"rounds": scale.rounds})
    with contextlib.redirect_stdout(sys.stderr):  # whatever else prints, the table alone goes to stdout
        complete = _run(figures, options.systems, scale, results)
    whole = complete and not small and not options.only
    if output := options.output or (_JSON if whole else None):
        report.write_json(results, output)
    return results, complete


if __name__ == "__main__":
    sys.exit(main())
