"""A program in the place of nvidia-smi, which prints what the real one does for the GPUs that a file describes."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path

NAME = "NVIDIA L4"

#: It answers the two questions that workers ask, and no other.
_PROGRAM = """#!{python}
import json, sys, pathlib
gpus = json.loads(pathlib.Path({file!r}).read_text())
if sys.argv[2:] != ["--format=csv,noheader,nounits"]:
    sys.exit("unexpected arguments: " + " ".join(sys.argv[1:]))
if sys.argv[1] == "--query-gpu=index,uuid,name,memory.total,memory.used":
    for index, gpu in enumerate(gpus):
        print(index, gpu["uuid"], {name!r}, gpu["memory_mib"], gpu["used_mib"], sep=", ")
elif sys.argv[1] == "--query-compute-apps=gpu_uuid,pid,used_memory":
    for gpu in gpus:
        for pid, used_mib in gpu["processes"].items():
            print(gpu["uuid"], pid, used_mib, sep=", ")
else:
    sys.exit("unexpected query: " + sys.argv[1])
"""


class FakeNvidiaSmi:
    """The program in a folder of its own, and the GPUs that it shows, each with so many MiB."""

    def __init__(self, folder: Path, *memory_mib: int) -> None:
        folder.mkdir(parents=True)
        self._folder = folder
        self._file = folder / "gpus.json"
        self.uuids = [f"GPU-{number:08x}-0000-0000-0000-000000000000" for number in range(1, len(memory_mib) + 1)]
        gpus = [
            {"uuid": uuid, "memory_mib": size, "used_mib": 4, "processes": {}}
            for uuid, size in zip(self.uuids, memory_mib, strict=True)
        ]
        self._file.write_text(json.dumps(gpus))
        program = folder / "nvidia-smi"
        program.write_text(_PROGRAM.format(python=sys.executable, file=str(self._file), name=NAME))
        program.chmod(0o755)

    @property
    def path(self) -> str:
        """A PATH that has it first."""
        return f"{self._folder}{os.pathsep}{os.environ['PATH']}"

    def use(self, index: int, processes: Mapping[int, int], other_mib: int = 4) -> None:
        """Let processes use so many MiB of a GPU, and others the rest."""
        gpus = json.loads(self._file.read_text())
        gpus[index] |= {"processes": dict(processes), "used_mib": other_mib + sum(processes.values())}
        whole = self._file.with_suffix(".new")
        whole.write_text(json.dumps(gpus))
        whole.replace(self._file)
