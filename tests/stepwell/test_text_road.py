"""Out to text and back: the same plan as without, and a module that is lowered for one target is not taken for another."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import stepwell
from stepwell.api.compile import compile_plan
from stepwell.runtime.errors import UsageError
from stepwell.testing.run_line import call

DIGITS = Path(__file__).resolve().parents[2] / "examples" / "digits" / "digits.onnx"
SHAPE = (2, 1, 8, 8)


@pytest.fixture(scope="module")
def tiles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The network at level tile for x86-64-v3, as text with its weights beside it."""
    path = tmp_path_factory.mktemp("text") / "digits.mlir"
    words = ["stepwell-opt", str(DIGITS), "--shape", "image:" + "x".join(map(str, SHAPE)), "--arch", "x86-64-v3"]
    weights = ["--weights-out", str(path.with_suffix(".safetensors"))]
    code, _, err = call([*words, "--to", "tile", "--print-debuginfo", *weights, "-o", str(path)])
    assert (code, err) == (0, "")
    return path


def test_the_road_over_text_leads_to_the_same_plan(tiles: Path) -> None:
    over_text = compile_plan(tiles, target="x86-64-v3").sections[0]
    direct = compile_plan(DIGITS, target="x86-64-v3", shapes={"image": SHAPE}).sections[0]
    assert 'stepwell.weights = "digits.safetensors"' in tiles.read_text()
    assert over_text == direct


@pytest.mark.parametrize("target", ["auto", "cpu"])
def test_a_plan_is_made_for_the_modules_own_target(target: str, tiles: Path) -> None:
    (section,) = compile_plan(tiles, target=target).sections
    assert section.program["level"] == "x86-64-v3"


@pytest.mark.parametrize("target", ["sm_90a", "x86-64-v4"])
def test_a_lowered_module_keeps_its_target(target: str, tiles: Path) -> None:
    code, out, err = call(["stepwell-opt", str(tiles), "--arch", target, "--to", "plan"])
    assert (code, out) == (2, "")
    assert f"the module is lowered for x86-64-v3 already, not for {target}" in err
    with pytest.raises(UsageError, match="start again at level graph"):
        stepwell.lower(stepwell.import_model(tiles), to="plan", target=target)


@pytest.mark.parametrize("target", ["cpu", "x86-64-v3"])
def test_its_own_target_may_be_said_again(target: str, tiles: Path) -> None:
    code, out, err = call(["stepwell-opt", str(tiles), "--arch", target, "--to", "plan"])
    assert (code, err) == (0, "") and 'stepwell.cpu = "x86-64-v3"' in out


CONV = """
builtin.module attributes {stepwell.level = "graph"} {
  func.func @main(%x: tensor<2x3xf32>) -> tensor<2x4xf32> {
    %w = graph.weight #graph.weight<"w", "ZEROS", tensor<4x3xf32>, []> : tensor<4x3xf32> loc("w")
    %y = graph.matmul %x, %w transpose_b : (tensor<2x3xf32>, tensor<4x3xf32>) -> tensor<2x4xf32> loc("fc")
    func.return %y : tensor<2x4xf32>
  }
}
""".replace("ZEROS", "0" * 64)


def test_random_weights_are_written_and_found_again(tmp_path: Path) -> None:
    (tmp_path / "fc.mlir").write_text(CONV)
    out, weights = tmp_path / "out.mlir", tmp_path / "fc.safetensors"
    words = ["stepwell-opt", str(tmp_path / "fc.mlir"), "--weights", "random:0"]
    assert call([*words, "--weights-out", str(weights), "-o", str(out)]) == (0, "", "")
    x = np.arange(6, dtype=np.float32).reshape(2, 3)
    made_up = stepwell.interpret(stepwell.import_model(tmp_path / "fc.mlir", weights="random:0"), {"input0": x})
    found = stepwell.interpret(stepwell.import_model(out), {"input0": x})
    np.testing.assert_array_equal(found["output0"], made_up["output0"])


def test_text_that_moves_finds_its_weights(tiles: Path, tmp_path: Path) -> None:
    moved = tmp_path / "plan.mlir"
    assert call(["stepwell-opt", str(tiles), "--to", "plan", "-o", str(moved)]) == (0, "", "")
    assert len(compile_plan(moved, target="x86-64-v3").sections[0].constants) > 300_000


def test_a_weights_file_that_is_gone_is_named(tiles: Path, tmp_path: Path) -> None:
    alone = tmp_path / "alone.mlir"
    alone.write_text(tiles.read_text())
    with pytest.raises(UsageError, match=r'the module names "digits\.safetensors", which is not beside it'):
        compile_plan(alone)
