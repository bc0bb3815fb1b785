"""How long ResNet-50 takes to compile, cold, each target and precision in a process of its own.

    python benchmarks/compile_time.py [--target sm_90a:fp32] .. [--passes 12]

Reported are the seconds of user CPU of the process and of what it started (ptxas), from the start of Python to the finished plan; kernels and launches; and the
slowest passes with and without what verifying after them takes. The network is the onnx package's topology with weights made up, batch norms folded.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

DEFAULT = ("sm_90a:model", "sm_90a:fp32", "sm_90a:fp16", "x86-64-v4:model")


def compile_one(path: str, target: str, precision: str) -> dict[str, object]:
    """Compile in this process and report; imports are part of it."""
    begun = time.perf_counter()
    from xdsl.dialects.builtin import ModuleOp
    from xdsl.passes import ModulePass

    from stepwell.api.compile import compile_plan
    from stepwell.driver.driver import Observer

    rows: list[tuple[float, str]] = []

    class Times(Observer):
        """The seconds of every pass with its verification."""

        def after(self, step: int, pass_: ModulePass, module: ModuleOp, seconds: float) -> None:
            rows.append((seconds, pass_.name))

    plan = compile_plan(path, target=target, precision=precision, observers=[Times()])
    own, children = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    program = plan.sections[0].program
    return {
        "wall": time.perf_counter() - begun,
        "user": own.ru_utime,
        "children": children.ru_utime,
        "kernels": len(program["kernels"]),
        "launches": len(program["launches"]),
        "code": {kind: len(code) for kind, code in plan.sections[0].code.items()},
        "passes": rows,
    }


def measured(path: str, target: str, precision: str) -> dict[str, object]:
    """`compile_one` in a fresh process."""
    command = [sys.executable, __file__, "--child", path, target, precision]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return dict(json.loads(done.stdout.splitlines()[-1]))


def main() -> None:
    """Print a line for each target and precision."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--target", action="append", default=None)
    parser.add_argument("--passes", type=int, default=8)
    parser.add_argument("--child", nargs=3, default=None, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        print(json.dumps(compile_one(*options.child)))
        return
    from stepwell.testing.folded import resnet50

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "resnet50.onnx"
        path.write_bytes(resnet50().SerializeToString())
        for name in options.target or DEFAULT:
            target, precision = name.split(":")
            report(name, measured(str(path), target, precision), options.passes)


def report(name: str, found: dict[str, object], passes: int) -> None:
    """One compilation, and its slowest passes."""
    print(
        f"{name}: {found['user']:.2f} s of user CPU and {found['children']:.2f} s in children ({found['wall']:.2f} s wall), "
        f"{found['kernels']} kernels, {found['launches']} launches, {found['code']}"
    )
    rows = found["passes"]
    assert isinstance(rows, list)
    print(f"  {sum(seconds for seconds, _ in rows):.2f} s in passes and their verification, the slowest:")
    for seconds, step in sorted(rows, reverse=True)[:passes]:
        print(f"  {seconds:7.3f}  {step}")


if __name__ == "__main__":
    main()
