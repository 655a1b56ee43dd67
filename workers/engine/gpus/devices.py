"""The GPUs that a worker may give to its hosts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from workers.engine.gpus.nvidia_smi import Look, SeenGpu
from workers.errors import SettingsWrong

NONE = "none"
#: What CUDA itself reads; a worker may have been started with it.
_VISIBLE = "CUDA_VISIBLE_DEVICES"
#: Parts of a GPU have names of their own, which nvidia-smi's list of GPUs doesn't have.
_PART = "MIG-"
#: Begins the UUIDs of whole ones.
_WHOLE = "GPU-"


@dataclass(frozen=True, slots=True)
class Gpu:
    """One GPU; `uuid`, `name` and `memory_bytes` are None where nvidia-smi doesn't show them."""

    #: What CUDA_VISIBLE_DEVICES of its hosts is: an index by PCI bus, or a UUID.
    id: str
    uuid: str | None = None
    name: str | None = None
    memory_bytes: int | None = None


def of_worker(setting: str, environment: Mapping[str, str], look: Look | None) -> list[Gpu]:
    """Return the GPUs of a worker by QUEUECAST_GPUS; if that is empty, those that nvidia-smi shows.

    `environment` is the worker's own: CUDA_VISIBLE_DEVICES there leaves only some by default, as CUDA reads it.

    Raises:
        SettingsWrong: nvidia-smi doesn't show a GPU that the setting names.
    """
    seen = look.gpus if look is not None else ()
    if not setting.strip():
        wanted = environment.get(_VISIBLE)
        if wanted is None:
            return [_gpu(each.index, each) for each in seen]
        return _visible(wanted, seen) if seen else []
    ids = [] if setting.strip().lower() == NONE else _ids(setting)
    unknown = [each for each in ids if look is not None and _seen(each, seen) is None and not each.startswith(_PART)]
    if unknown:
        shown = ", ".join(f"{each.index} ({each.uuid})" for each in seen) or "none"
        raise SettingsWrong(f"QUEUECAST_GPUS={setting!r}: there is no GPU {unknown[0]}; nvidia-smi shows {shown}.")
    return _gpus(ids, seen)


def _visible(wanted: str, seen: Sequence[SeenGpu]) -> list[Gpu]:
    """Return what CUDA sees: the list ends at the first entry that is no GPU; a GPU that is there twice voids it."""
    found: list[Gpu] = []
    for each in map(str.strip, wanted.split(",")):
        gpu = _seen(each, seen)
        if gpu is None and not each.startswith(_PART):
            break
        found.append(_gpu(each, gpu))
    places = {each.uuid or each.id for each in found}
    return found if len(places) == len(found) else []


def _gpus(ids: Sequence[str], seen: Sequence[SeenGpu]) -> list[Gpu]:
    """Return each GPU once, also if it is named by its index and by its UUID: it would be given away twice."""
    found: dict[str, Gpu] = {}
    for each in ids:
        gpu = _gpu(each, _seen(each, seen))
        found.setdefault(gpu.uuid or gpu.id, gpu)
    return list(found.values())


def _ids(text: str) -> list[str]:
    return list(dict.fromkeys(each.strip() for each in text.split(",") if each.strip() and each.strip() != "-1"))


def _seen(gpu_id: str, seen: Sequence[SeenGpu]) -> SeenGpu | None:
    """Return the GPU of an index or a UUID, or of the beginning of one UUID alone."""
    if gpu_id.startswith(_WHOLE):
        begun = [each for each in seen if each.uuid.startswith(gpu_id)]
        return begun[0] if len(begun) == 1 else None
    return next((each for each in seen if gpu_id == each.index), None)


def _gpu(gpu_id: str, seen: SeenGpu | None) -> Gpu:
    if seen is None:
        return Gpu(gpu_id)
    return Gpu(seen.uuid if gpu_id.startswith(_WHOLE) else seen.index, seen.uuid, seen.name, seen.memory_bytes)
