"""Files to change: a small network at every level of the ladder for both targets, its plan and weights; in the long form the digits too."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import pytest

import stepwell
from stepwell.ir.printing import module_text
from stepwell.passes.levels import LEVELS
from stepwell.testing.hostile.children import Children
from stepwell.testing.hostile.seeds import small_model
from stepwell.testing.run_line import call

ROOT = Path(__file__).resolve().parents[2]
DIGITS = ROOT / "examples" / "digits" / "digits.onnx"
TARGETS = ("cpu", "sm_90a")


@dataclass(frozen=True)
class Corpus:
    """A network as every kind of file."""

    model: Path
    plan: Path
    module: Path
    weights: Path
    ladder: tuple[Path, ...]
    inputs: dict[str, np.ndarray]


@pytest.fixture(scope="session")
def children() -> Iterator[Children]:
    with Children() as server:
        yield server


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    """A convolution, a pool and a product."""
    folder = tmp_path_factory.mktemp("small")
    onnx.save(small_model(), folder / "net.onnx")
    return corpus(folder, {"x": np.ones((1, 2, 6, 6), np.float32)}, [])


@pytest.fixture(scope="session")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    folder = tmp_path_factory.mktemp("digits")
    (folder / "net.onnx").write_bytes(DIGITS.read_bytes())
    return corpus(folder, {"image": np.ones((4, 1, 8, 8), np.float32)}, ["--shape", "image:4x1x8x8"])


def corpus(folder: Path, inputs: dict[str, np.ndarray], shape: list[str]) -> Corpus:
    model, plan, module, weights = (folder / f"net.{ending}" for ending in ("onnx", "plan", "mlir", "safetensors"))
    assert call(["stepwell", "compile", str(model), "--target", ",".join(TARGETS), "-o", str(plan), *shape])[0] == 0
    assert call(["stepwell-opt", str(model), "-o", str(module), "--weights-out", str(weights), *shape])[0] == 0
    ladder = []
    for target in TARGETS:
        lowered = stepwell.import_model(module)
        for level in LEVELS:
            lowered = stepwell.lower(lowered, to=level, target=target)
            ladder.append(folder / f"{target}_{level}.mlir")
            ladder[-1].write_text(module_text(lowered))
    return Corpus(model, plan, module, weights, tuple(ladder), inputs)
