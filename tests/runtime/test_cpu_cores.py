"""Which cores, how many threads, and where workers are put: on machines that are folders."""

from __future__ import annotations

import ctypes
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from stepwell.runtime import Engine, Plan
from stepwell.runtime.cpu_cores import cores_of, cpu_quota, default_threads, placement


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@pytest.fixture
def hyperthreads(tmp_path: Path) -> str:
    """Two physical cores with two logical CPUs each: 0 and 2, 1 and 3."""
    for cpu, siblings in enumerate(("0,2", "1,3", "0,2", "1,3")):
        write(tmp_path / f"devices/system/cpu/cpu{cpu}/topology/thread_siblings_list", siblings + "\n")
    return str(tmp_path)


def test_cores_are_those_that_the_process_may_use(hyperthreads: str) -> None:
    assert cores_of({0, 1, 2, 3}, hyperthreads) == [[0, 2], [1, 3]]
    assert cores_of({2, 3}, hyperthreads) == [[2], [3]]
    assert cores_of({0, 2}, hyperthreads) == [[0, 2]]
    assert cores_of({0, 9}, "/nowhere") == [[0], [9]]


def rows(threads: int, cores: list[list[int]]) -> list[list[int]]:
    """For each CPU of the caller, the CPUs of the workers."""
    masks = placement(threads, cores)
    assert masks.shape[1] % 8 == 0
    return [np.flatnonzero(np.unpackbits(row, bitorder="little")).tolist() for row in masks]


def test_workers_are_on_other_cores_physical_ones_first() -> None:
    assert rows(2, [[0], [1]]) == [[1], [0]]
    assert rows(2, [[0, 2], [1, 3]]) == [[1], [0], [1], [0]]
    assert rows(3, [[0, 2], [1, 3]]) == [[1, 2, 3], [0, 2, 3], [0, 1, 3], [0, 1, 2]]
    assert rows(2, [[1], [64], [70]])[64] == [1, 70]
    assert rows(2, [[1], [64], [70]])[0] == []


@pytest.mark.parametrize(("threads", "cores"), [(1, [[0], [1]]), (2, [[3]]), (3, [[0], [1]])])
def test_nothing_is_placed_where_there_is_no_choice(threads: int, cores: list[list[int]]) -> None:
    assert placement(threads, cores).shape == (0, 8)


@pytest.mark.parametrize(
    ("files", "quota"),
    [
        ({}, float("inf")),
        ({"proc/self/cgroup": "0::/a/b\n", "sys/fs/cgroup/a/b/cpu.max": "max 100000\n"}, float("inf")),
        ({"proc/self/cgroup": "0::/a/b\n", "sys/fs/cgroup/a/b/cpu.max": "150000 100000\n"}, 1.5),
        (
            {
                "proc/self/cgroup": "0::/a/b\n",
                "sys/fs/cgroup/a/b/cpu.max": "max 100000\n",
                "sys/fs/cgroup/a/cpu.max": "200000 100000\n",
            },
            2.0,
        ),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "50000 100000\n"}, 0.5),
        (
            {
                "proc/self/cgroup": "4:cpu,cpuacct:/docker/x\n2:memory:/docker/x\n",
                "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "300000\n",
                "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000\n",
            },
            3.0,
        ),
        (
            {
                "proc/self/cgroup": "1:cpu:/\n",
                "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n",
                "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
            },
            float("inf"),
        ),
        ({"proc/self/cgroup": "nonsense\n0::/\n", "sys/fs/cgroup/cpu.max": "many\n"}, float("inf")),
    ],
)
def test_quotas_of_containers(tmp_path: Path, files: dict[str, str], quota: float) -> None:
    for name, text in files.items():
        write(tmp_path / name, text)
    assert cpu_quota(str(tmp_path)) == quota


def test_default_threads_follow_affinity_and_quota(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stepwell.runtime.cpu_cores.cores_of", lambda cpus: [[cpu] for cpu in cpus])
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)))
    for quota, threads in ((float("inf"), 8), (3.9, 3), (0.5, 1)):
        monkeypatch.setattr("stepwell.runtime.cpu_cores.cpu_quota", lambda quota=quota: quota)
        assert default_threads() == threads


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="needs two CPUs")
def test_a_worker_is_never_on_the_callers_core(make_plan: Callable[..., Plan]) -> None:
    """Wherever the caller goes; with more threads than CPUs, nobody is moved."""
    allowed = sorted(os.sched_getaffinity(0))[:2]
    x, before = np.ones((4, 8), np.float32), set(os.listdir("/proc/self/task"))
    everywhere = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, allowed)
        context = Engine(make_plan()).create_context(threads=2)
        (worker,) = map(int, set(os.listdir("/proc/self/task")) - before)
        deadline = time.monotonic() + 20
        while len(os.sched_getaffinity(worker)) > 1 and time.monotonic() < deadline:  # it begins when it begins
            context.run({"x": x})
        for cpu in (*allowed, *allowed):
            os.sched_setaffinity(0, {cpu})
            context.run({"x": x})
            assert os.sched_getaffinity(worker) == set(allowed) - {cpu}
        context.close()
        os.sched_setaffinity(0, allowed)
        context = Engine(make_plan()).create_context(threads=3)
        context.run({"x": x})
        workers = set(os.listdir("/proc/self/task")) - before
        assert len(workers) == 2
        assert all(os.sched_getaffinity(int(number)) == set(allowed) for number in workers)
        context.close()
    finally:
        os.sched_setaffinity(0, everywhere)


def _may_raise() -> bool:
    """Whether a thread of this process may ask for a priority above its own."""
    library = ctypes.CDLL(None, use_errno=True)

    def ask() -> int:
        return int(library.setpriority(0, 0, os.getpriority(os.PRIO_PROCESS, 0) - 5))  # of the calling thread alone

    with ThreadPoolExecutor(1) as pool:
        return pool.submit(ask).result() == 0


def test_a_worker_comes_before_threads_that_spin(make_plan: Callable[..., Plan]) -> None:
    """Five steps of nice above its caller, where the system grants that; never below; the caller's own stays."""
    x, before = np.ones((4, 8), np.float32), set(os.listdir("/proc/self/task"))
    own, raised = os.getpriority(os.PRIO_PROCESS, 0), _may_raise()
    context = Engine(make_plan()).create_context(threads=2)
    (worker,) = map(int, set(os.listdir("/proc/self/task")) - before)
    expected = max(own - 5, -20) if raised else own
    deadline = time.monotonic() + 20
    while (
        os.getpriority(os.PRIO_PROCESS, worker) != expected and time.monotonic() < deadline
    ):  # it begins when it begins
        context.run({"x": x})
    assert os.getpriority(os.PRIO_PROCESS, worker) == expected
    assert os.getpriority(os.PRIO_PROCESS, 0) == own
    context.close()


def test_parked_workers_cost_nothing(make_plan: Callable[..., Plan]) -> None:
    """Between runs the process uses (next to) no time of a processor."""
    context = Engine(make_plan()).create_context(threads=4)
    context.run({"x": np.ones((4, 8), np.float32)})
    time.sleep(0.05)
    begin = time.process_time()
    time.sleep(0.3)
    assert time.process_time() - begin < 0.02
    context.close()
