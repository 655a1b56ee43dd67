"""The build backend (PEP 517, PEP 660): setuptools, on a copy of the clone in which it finds one package.

An editable installation is that of the clone itself: `api`, `workers`, `registry` and `queuecast` at the top.
"""

from __future__ import annotations

import contextlib
import gzip
import io
import os
import shutil
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from setuptools import build_meta

from distributions.checking import refuse_wrong
from distributions.staging import copy_sources, stage_wheel

#: Of all files in both archives, unless SOURCE_DATE_EPOCH says another: the earliest that a zip file can have.
_EPOCH = "315532800"

build_editable = build_meta.build_editable
prepare_metadata_for_build_editable = build_meta.prepare_metadata_for_build_editable
get_requires_for_build_editable = build_meta.get_requires_for_build_editable
get_requires_for_build_wheel = build_meta.get_requires_for_build_wheel
get_requires_for_build_sdist = build_meta.get_requires_for_build_sdist


def build_wheel(wheel_directory: str, config_settings: Any = None, metadata_directory: str | None = None) -> str:
    """Build the wheel, and refuse one whose modules would be anywhere but in `queuecast`."""
    del metadata_directory  # the same as here
    target = Path(wheel_directory).resolve()
    with _in_stage(stage_wheel):
        name: str = build_meta.build_wheel("dist", config_settings)
        refuse_wrong(Path("dist", name))
        shutil.copyfile(Path("dist", name), target / name)
    return name


def prepare_metadata_for_build_wheel(metadata_directory: str, config_settings: Any = None) -> str:
    """Write the metadata of the wheel."""
    target = Path(metadata_directory).resolve()
    with _in_stage(stage_wheel):
        return str(build_meta.prepare_metadata_for_build_wheel(str(target), config_settings))


def build_sdist(sdist_directory: str, config_settings: Any = None) -> str:
    """Build the sdist, which has the layout of the clone."""
    target = Path(sdist_directory).resolve()
    with _in_stage(copy_sources):
        name: str = build_meta.build_sdist(str(target), config_settings)
    _without_traces(target / name)
    return name


@contextlib.contextmanager
def _in_stage(prepare: Callable[[Path, Path], None]) -> Iterator[None]:
    """Work in a copy of the project; setuptools builds what is in the working directory."""
    os.environ.setdefault("SOURCE_DATE_EPOCH", _EPOCH)
    with tempfile.TemporaryDirectory(prefix="queuecast-") as folder, contextlib.chdir(Path.cwd()):
        stage = Path(folder).resolve()
        prepare(Path.cwd(), stage)
        os.chdir(stage)
        yield


def _without_traces(path: Path) -> None:
    """Write an archive anew without its time and the user that made it: the same sources, the same bytes."""
    epoch = int(os.environ["SOURCE_DATE_EPOCH"])
    content = io.BytesIO()
    with tarfile.open(path) as before, tarfile.open(fileobj=content, mode="w", format=tarfile.PAX_FORMAT) as after:
        for member in sorted(before.getmembers(), key=lambda each: each.name):
            member.mtime, member.uid, member.gid, member.uname, member.gname = epoch, 0, 0, "", ""
            member.pax_headers = {}
            after.addfile(member, before.extractfile(member) if member.isfile() else None)
    with path.open("wb") as file, gzip.GzipFile("", "wb", mtime=epoch, fileobj=file) as packed:
        packed.write(content.getvalue())
