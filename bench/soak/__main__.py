"""Break a running service again and again at a steady load, then audit every job that it accepted.

    make soak MINUTES=30        # or: python -m bench.soak --minutes 30 --write-docs

One API, two workers and a private Redis run as processes of their own; between them and Redis are links that
can be slow, late, stalled or cut. While small, slow and large jobs, and jobs that kill their hosts, are submitted
at a steady rate, faults happen in rounds: each kind once a round, in an order drawn at random (`--seed` repeats it).
A fault ends by itself. After each a probe job measures how long the service needs until it answers again.

All traffic stays on this machine, and the soak signals only processes that it has started, by their process ids.
At the end every accepted job must have exactly one end, and the right one; no reported end may have changed; and
nothing may be left in queues, leases, bookkeeping or hosts. The exit code is 1 if the audit finds anything.
"""

from __future__ import annotations

import argparse
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any, NoReturn

import httpx

from bench import machine
from bench.soak import report, traffic
from bench.soak.audit import Auditor, audit
from bench.soak.faults import Faults
from bench.soak.neighbour import Neighbour
from bench.soak.service import LEASE_S, Service, running
from bench.soak.traffic import Traffic

RECOVERY_LIMIT_S = 120.0
_BETWEEN_FAULTS_S = (1, 5)
_LOG_LINES_SHOWN = 200


class Soak:
    """One run: traffic, faults and the audit.

    Attributes:
        recoveries: kind of fault -> the seconds after each until a new job had its outcome.
        problems: what went wrong during the run.
    """

    def __init__(self, service: Service, options: argparse.Namespace) -> None:
        self.recoveries: dict[str, list[float]] = defaultdict(list)
        self.problems: list[str] = []
        self._service = service
        self._draw = random.Random(options.seed)
        self._neighbour = Neighbour(service.stack.redis.url, self._draw)
        self._faults = Faults(service, self._neighbour, self._draw)
        self._kinds = set(options.only or self._faults.kinds)
        if unknown := self._kinds.difference(self._faults.kinds):
            raise SystemExit(f"There is no fault {unknown}; there are: {', '.join(self._faults.kinds)}.")
        self._traffics = [Traffic(service.stack.url, each) for each in traffic.streams(options.rate)]
        self._auditor = Auditor(service.stack.url, [*self._traffics, self._neighbour])

    def run(self, minutes: float) -> None:
        """Break the service for so many minutes, then audit the jobs that it accepted."""
        together: list[Traffic | Auditor] = [*self._traffics, self._auditor]
        for each in together:
            each.start()
        try:
            self._break_until(time.monotonic() + minutes * 60)
        finally:
            for each in together:
                each.stop()
        self.problems += audit(self._service, self._auditor, self._neighbour)

    def figures(self) -> dict[str, Any]:
        """Return the counts and problems for the report."""
        runs = Counter(row for row in self._service.runs.read_text().split() if row != "probe")
        return {
            "jobs": {
                each.stream.endpoint_name: {
                    "accepted": len(each.accepted),
                    "slowest_s": self._auditor.slowest_s.get(each.stream.endpoint_name),
                }
                for each in self._traffics
            }
            | {"put onto queues by a neighbour": {"accepted": len(self._neighbour.accepted), "slowest_s": None}},
            "junk": len(self._neighbour.junk),
            "workers_ended_of_shortage": self._faults.ended_of_shortage,
            "answers_to_submits": dict(sum((each.answers for each in self._traffics), Counter())),
            "executed_more_than_once": sum(count > 1 for count in runs.values()),
            "read_twice": sum(told.again for told in self._auditor.told.values()),
            "faults": report.recoveries(self.recoveries),
            "problems": self.problems,
        }

    def _break_until(self, ends_at: float) -> None:
        for kind in self._faults.in_turn():
            if kind not in self._kinds:
                continue
            if time.monotonic() > ends_at:
                return
            began = time.monotonic()
            try:
                self._faults.kinds[kind]()
                self.recoveries[kind].append(recovery_s(self._service.stack.url, began))
                assert not self._service.ended_by_themselves(), self._service.ended_by_themselves()
            except Exception as error:  # noqa: BLE001 - the audit reports the damage
                self.problems.append(f"{kind}: {type(error).__name__}: {str(error)[:1_000]}")
                return
            _say(f"{kind}: {self.recoveries[kind][-1]:.1f} s; {len(self._auditor.told)} jobs have ended")
            time.sleep(self._draw.uniform(*_BETWEEN_FAULTS_S))


def recovery_s(url: str, began: float) -> float:
    """Return the seconds from `began` until a new job has its outcome.

    Raises:
        AssertionError: no job had one within the limit.
    """
    while time.monotonic() - began < RECOVERY_LIMIT_S:
        try:
            answer = httpx.post(
                f"{url}/predict/{traffic.SMALL}", json={"input": "probe"}, headers={"Prefer": "wait=60"}, timeout=70
            )
            if answer.status_code == 200:
                return time.monotonic() - began
        except httpx.TransportError:
            pass
        time.sleep(0.05)
    raise AssertionError(f"the service did not recover in {RECOVERY_LIMIT_S:g} s")


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    head, _, rest = (__doc__ or "").partition("\n")
    made = argparse.ArgumentParser(
        prog="python -m bench.soak", description=head, epilog=rest, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    made.add_argument("--minutes", type=float, default=30)
    made.add_argument("--rate", type=float, default=40, help="small jobs per second")
    made.add_argument("--seed", type=int, default=int(time.time()))
    made.add_argument(
        "--only", action="append", metavar="FAULT", help="only this kind of fault, by its name; may be repeated"
    )
    made.add_argument(
        "--write-docs",
        action="store_true",
        help="put the report into docs/explanation/reliability.md and docs/soak.json",
    )
    return made


def main() -> int:
    """Soak and report; return the exit code."""
    options = parser().parse_args()
    signal.signal(signal.SIGTERM, _leave)
    about = machine.about(" ".join(["python -m bench.soak", *sys.argv[1:]]))
    about |= {"minutes": options.minutes, "seed": options.seed, "rate_per_s": options.rate, "lease_s": LEASE_S}
    folder = Path(tempfile.mkdtemp(prefix="queuecast-soak-"))
    with running(folder) as service:
        soak = Soak(service, options)
        soak.run(options.minutes)
        found = about | soak.figures()
        if soak.problems:
            print(service.stack.last_logs(_LOG_LINES_SHOWN), file=sys.stderr)
    print(report.markdown(found))
    if options.write_docs:
        report.write(found)
    if soak.problems:
        print(f"The audit found problems; logs are in {folder}", file=sys.stderr)
        return 1
    shutil.rmtree(folder, ignore_errors=True)
    return 0


def _leave(_number: int, _frame: object) -> NoReturn:
    raise SystemExit("ended by a signal")


def _say(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
