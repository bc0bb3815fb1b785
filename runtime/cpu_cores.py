"""Which cores a process may use, how many threads are worth starting on them, and where workers are put.

Sources: sched_getaffinity(2); /sys/devices/system/cpu/cpu*/topology (which logical CPUs are one physical core); the CPU quota
of the control groups (cgroups(7): `cpu.max` of version 2, `cpu.cfs_quota_us` of version 1) of the process and of all groups above.
What cannot be read sets no limit.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np


def cores_of(cpus: set[int], system: str = "/sys") -> list[list[int]]:
    """The logical CPUs among `cpus`, one list for each physical core, in order of their lowest number."""
    cores: dict[frozenset[int], list[int]] = {}
    for cpu in sorted(cpus):
        cores.setdefault(_siblings(cpu, system), []).append(cpu)
    return list(cores.values())


def _siblings(cpu: int, system: str) -> frozenset[int]:
    path = Path(system, f"devices/system/cpu/cpu{cpu}/topology/thread_siblings_list")
    try:
        return frozenset(_listed(path.read_text())) | {cpu}
    except (OSError, ValueError):
        return frozenset({cpu})


def _listed(text: str) -> Iterator[int]:
    """The numbers of a list such as `0-3,8`."""
    for part in filter(None, text.strip().split(",")):
        low, _, high = part.partition("-")
        yield from range(int(low), int(high or low) + 1)


def cpu_quota(root: str = "/") -> float:
    """How many CPUs' time the control groups leave to this process; infinity without a quota."""
    try:
        lines = Path(root, "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return float("inf")
    quotas = [float("inf")]
    for line in lines:
        _, controllers, group = (line.split(":", 2) + ["", ""])[:3]
        if controllers and "cpu" not in controllers.split(","):
            continue
        for folder in _group_folders(Path(root, "sys/fs/cgroup"), controllers, group):
            quotas.append(_quota_of(folder))
    return min(quotas)


def _group_folders(top: Path, controllers: str, group: str) -> Iterator[Path]:
    """The folders of a group and of those above it, under every place where its hierarchy may be mounted (in a container the group's
    own path may not be there: its mount is the group)."""
    mounts = [top / controllers, top / "cpu"] if controllers else [top, top / "unified"]
    for mount in mounts:
        folder = mount / group.lstrip("/")
        while folder != mount and mount in folder.parents:
            yield folder
            folder = folder.parent
        yield mount


def _quota_of(folder: Path) -> float:
    try:
        quota, period = (folder / "cpu.max").read_text().split()
    except (OSError, ValueError):
        try:
            quota, period = ((folder / f"cpu.cfs_{name}_us").read_text() for name in ("quota", "period"))
        except OSError:
            return float("inf")
    try:
        return int(quota) / int(period) if int(quota) > 0 else float("inf")
    except (ValueError, ZeroDivisionError):  # "max"
        return float("inf")


def default_threads() -> int:
    """One thread for each physical core that this process may use, no more than its quota allows to run all the time."""
    cores = len(cores_of(os.sched_getaffinity(0)))
    return max(1, int(min(cores, cpu_quota())))


def placement(threads: int, cores: list[list[int]]) -> np.ndarray:
    """For each logical CPU that the caller may be on, the mask of those where its workers may be: row of bytes by row. Workers stay
    off the caller's core; while there are cores enough for all `threads`, each core counts with one logical CPU, so that no two workers
    share one. An empty array, when there is nothing to choose: one CPU, one thread, or more threads than CPUs."""
    everything = [cpu for core in cores for cpu in core]
    if not 2 <= threads <= len(everything):
        return np.zeros((0, 8), np.uint8)
    masks = np.zeros((max(everything) + 1, 64 * (max(everything) // 64 + 1)), bool)
    spread = threads <= len(cores)
    for core in cores:
        others = [other for other in cores if other is not core]
        for cpu in core:
            allowed = [c for other in others for c in (other[:1] if spread else other)]
            if not spread:
                allowed += [c for c in core if c != cpu]
            masks[cpu, allowed] = True
    return np.packbits(masks, axis=1, bitorder="little")
