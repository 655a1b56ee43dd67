"""A worker's side of model hosts in a process of its own, to be killed. Argument: a stored model.

Prints "ready", the pids of its hosts and of what they have started, once it has them; then it waits.
"""

from __future__ import annotations

import asyncio
import sys

from workers.hosts.worker_side.host import LoadRequest, RemoteHost
from workers.hosts.worker_side.launcher import HostLauncher

ACTS = [1, "start_daemon", "fork_child_that_lives_on", "fork_child_with_own_session"]


async def main(path: str) -> None:
    launcher = HostLauncher(threads=1)
    hosts = await asyncio.gather(*(_loaded(launcher, path) for _ in range(3)))
    answer = await hosts[0].predict(ACTS, 64, 30)
    print("ready", *(host.pid for host in hosts), *(bytes(each).decode() for each in answer.outputs[1:]), flush=True)
    await hosts[1].predict(["hang"], 64, 600)


async def _loaded(launcher: HostLauncher, path: str) -> RemoteHost:
    host = await launcher.spawn("python")
    await host.load(LoadRequest(path, "python", {}, {"kind": "scalar", "dtype": "float"}, None), 60)
    return host


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
