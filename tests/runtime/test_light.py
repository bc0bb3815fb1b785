"""Running a plan needs NumPy and the runtime package only."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from stepwell.runtime import Plan, write_plan

BLOCKED = (
    "xdsl", "onnx", "llvmlite", "safetensors", "cuda",
    "stepwell.frontends", "stepwell.dialects", "stepwell.transforms", "stepwell.codegen", "stepwell.passes",
)  # fmt: skip
SCRIPT = """
import sys
for name in {blocked!r}:
    sys.modules[name] = None
import stepwell.runtime
import numpy as np
with stepwell.runtime.load({path!r}, threads=2) as engine:
    x = np.ones((4, 8), np.float32)
    assert (engine.run({{"x": x}})["y"] == 4).all()
    print(engine.choice)
"""


def test_a_saved_plan_runs_where_nothing_else_is_installed(make_plan: Callable[..., Plan], tmp_path: Path) -> None:
    path = tmp_path / "net.plan"
    write_plan(make_plan(), path)
    script = SCRIPT.format(blocked=BLOCKED, path=str(path))
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "section cpu on cpu (x86-64-v2)\n"


def test_importing_the_runtime_loads_nothing_heavy() -> None:
    script = "import sys, stepwell.runtime; print(*sorted({m.split('.')[0] for m in sys.modules}))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    assert not set(done.stdout.split()) & {"xdsl", "onnx", "llvmlite", "cuda", "safetensors", "torch"}
