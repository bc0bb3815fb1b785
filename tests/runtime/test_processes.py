"""What happens around a run: forks, pools of processes, signals, threads that cannot start. Each story is a process of its own, with a time
limit, so that a hang is a failure."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from tests.runtime.steps import interrupted

from stepwell.runtime import Engine, Plan, write_plan

BEGIN = """
import os, signal, sys, threading, time, warnings
from pathlib import Path
import numpy as np
from stepwell.runtime import load, UsageError
X = np.arange(32, dtype=np.float32).reshape(4, 8)
def right(outputs, x=X):
    return (outputs["y"] == 4 * x).all() and (outputs["z"] == 4 * x).all() and (outputs["w"].ravel() == 2 * np.arange(32)).all()
def in_child(work):
    pid = os.fork()
    if pid == 0:
        try:
            os._exit(0 if work() else 1)
        finally:
            os._exit(2)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
"""


@pytest.fixture(scope="module")
def plan_path(make_plan: Callable[..., Plan], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("plans") / "net.plan"
    write_plan(make_plan(), path)
    return path


@pytest.fixture
def tell(plan_path: Path, tmp_path: Path) -> Callable[[str], str]:
    """Run a story (a script that knows PLAN) in a process; what it printed."""

    def run(story: str, seconds: float = 60) -> str:
        script = tmp_path / "story.py"
        script.write_text(f"PLAN = {str(plan_path)!r}\n{BEGIN}\n{textwrap.dedent(story)}")
        done = subprocess.run([sys.executable, script], check=False, capture_output=True, text=True, timeout=seconds)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


def test_a_child_process_runs_what_it_inherits(tell: Callable[[str], str]) -> None:
    """Its parent's workers do not exist there: it starts its own, and the parent's go on."""
    story = """
    engine = load(PLAN, threads=3)
    context = engine.create_context(threads=2)
    bound = engine.create_context(threads=2)
    bound.bind("x", X)
    assert right(engine.run({"x": X})) and right(context.run({"x": X})) and right(bound.run())
    def work():
        fine = right(engine.run({"x": X + 1}), X + 1) and right(context.run({"x": X})) and right(bound.run())
        fine = fine and len(os.listdir("/proc/self/task")) == 1 + 2 + 1 + 1 and in_child(lambda: right(context.run({"x": X}))) == 0
        context.close(); engine.close()
        return fine
    print([in_child(work) for _ in range(3)], right(context.run({"x": X})), right(engine.run({"x": X})))
    context.close()
    """
    assert tell(story) == "[0, 0, 0] True True\n"


def test_a_child_process_ends_as_usual(tell: Callable[[str], str]) -> None:
    """With its finalisers, and those of what it inherited."""
    story = """
    engine = load(PLAN, threads=3)
    assert right(engine.run({"x": X}))
    sys.stdout.flush()
    pid = os.fork()
    if pid == 0:
        sys.exit(0 if right(engine.run({"x": X})) else 1)
    print(os.waitpid(pid, 0)[1], right(engine.run({"x": X})))
    """
    assert tell(story) == "0 True\n"


def test_a_fork_while_another_thread_is_inside(tell: Callable[[str], str]) -> None:
    """Neither the engine's turn nor the context's stays taken in the child."""
    story = """
    engine = load(PLAN, threads=2)
    context = engine.create_context()
    going = True
    def keep_running():
        while going:
            engine.run({"x": X})
            context.run({"x": X})
    thread = threading.Thread(target=keep_running)
    thread.start()
    held = engine._turns.here()  # as if the other thread were forked inside of the engine's turn
    with held:
        codes = [in_child(lambda: right(engine.run({"x": X})) and right(context.run({"x": X})))]
    codes += [in_child(lambda: right(engine.run({"x": X})) and right(context.run({"x": X}))) for _ in range(20)]
    going = False
    thread.join()
    print(set(codes), right(engine.run({"x": X})))
    """
    assert tell(story) == "{0} True\n"


def test_pools_of_processes(tell: Callable[[str], str]) -> None:
    story = """
    import multiprocessing
    from concurrent.futures import ProcessPoolExecutor
    engine = None
    def start():
        global engine
        engine = engine or load(PLAN, threads=2)
    def work(turn):
        return bool(right(engine.run({"x": X + turn}), X + turn))
    if __name__ == "__main__":
        start()
        assert work(0)
        with multiprocessing.get_context("fork").Pool(2) as pool:
            print(all(pool.map(work, range(8))))
        for method in ("fork", "spawn"):
            with ProcessPoolExecutor(2, multiprocessing.get_context(method), initializer=start) as executor:
                print(all(executor.map(work, range(8))))
        print(work(1))
    """
    assert tell(story) == "True\n" * 4


def test_interrupts_hit_anywhere(tell: Callable[[str], str]) -> None:
    """SIGINT every millisecond, in runs and binds: it is delivered, nothing hangs, no result is wrong, and the context is as it was."""
    story = """
    engine = load(PLAN, threads=2)
    context = engine.create_context(threads=2)
    armed = False
    def interrupt(number, frame):
        global armed
        if armed:
            armed = False
            raise KeyboardInterrupt
    signal.signal(signal.SIGINT, interrupt)
    sending = True
    def send():
        while sending:
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.001)
    thread = threading.Thread(target=send)
    thread.start()
    interrupted, finished, wrong = 0, 0, 0
    end = time.monotonic() + 1.5
    while time.monotonic() < end or interrupted < 50:
        x = X + finished % 100
        try:
            armed = True
            if finished % 20 == 19:
                context.bind("w", np.zeros((4, 8), np.float32))
            wrong += not right(context.run({"x": x}), x)
            wrong += not right(engine.run({"x": x}), x)
            armed = False
            finished += 1
        except KeyboardInterrupt:
            interrupted += 1
    sending = False
    thread.join()
    print(wrong, interrupted >= 50, finished > 50, right(context.run({"x": X})), right(engine.run({"x": X})))
    context.close(); engine.close()
    """
    assert tell(story) == "0 True True True True\n"


def test_an_interrupt_at_every_step_of_a_run(make_plan: Callable[..., Plan]) -> None:
    """KeyboardInterrupt before each bytecode, or line, in turn: the run that follows is not refused."""
    x = np.ones((4, 8), np.float32)
    context, steps = Engine(make_plan(), threads=1).create_context(), 1
    while not interrupted(lambda: context.run({"x": x}), steps):
        steps += 1
        np.testing.assert_array_equal(context.run({"x": x})["y"], 4 * x)
    assert steps > 30
    context.close()


@pytest.mark.parametrize("limit", ["memory", "processes"])
def test_fewer_threads_where_the_system_gives_fewer(tell: Callable[[str], str], limit: str) -> None:
    """Memory for one more stack, or no more threads at all (root may always start them: the story gives its rights up)."""
    story = """
    import resource
    engine = load(PLAN)
    context = engine.create_context(threads=1)
    assert right(context.run({"x": X}))
    def bound_memory():
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + (5 << 19), -1))
    def bound_processes():
        if os.getuid() == 0:
            os.setuid(65534)
        resource.setrlimit(resource.RLIMIT_NPROC, (1, 1))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        globals()["bound_" + HOW]()
        context = engine.create_context(threads=4)
        fine = right(context.run({"x": X}))
    print(fine, context.threads, [str(w.message).split(" (")[0] for w in caught])
    context.close()
    """.replace("HOW", repr(limit))
    found = tell(story)
    threads = int(found.split()[1])
    assert 1 <= threads < (4 if limit == "memory" else 2)
    assert found == f"True {threads} ['only {threads} of 4 threads could be started']\n"
