"""What an import costs, measured in a process of its own: `python -m stepwell.testing.import_cost '{"model": "net.onnx"}'` prints seconds and bytes."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Cost:
    """Seconds of the processor, and the most memory in bytes beside what Python and its libraries take."""

    seconds: float
    memory: int


def cost_of(model: Path, **words: Any) -> Cost:
    """The cost of `stepwell.import_model(model, **words)`: weights, outputs and shapes as they are said there."""
    said = {
        "model": str(model),
        **{name: str(word) if isinstance(word, Path) else word for name, word in words.items()},
    }
    run = subprocess.run([sys.executable, "-m", __name__, json.dumps(said)], capture_output=True, text=True, check=True)
    seconds, memory = run.stdout.split()
    return Cost(float(seconds), int(memory))


def _most() -> int:
    """The most memory that this process ever had, in bytes."""
    found = re.search(r"VmHWM:\s*(\d+)", Path("/proc/self/status").read_text())
    assert found is not None
    return 1024 * int(found[1])


def main() -> None:
    """Import a small file of the same kind first, so that what is loaded late is there."""
    import stepwell
    from stepwell.testing.hostile import seeds

    said = json.loads(sys.argv[1])
    stepwell.import_model(seeds.small_model())
    if not said["model"].endswith(".onnx"):
        import stepwell.frontends.caffe
        import stepwell.frontends.tensorflow
    before, begun = _most(), time.process_time()
    stepwell.import_model(said.pop("model"), **said)
    print(time.process_time() - begun, _most() - before)


if __name__ == "__main__":
    main()
