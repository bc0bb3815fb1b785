"""Out to text and back: the same plan as without, and a module that is lowered for one target is not taken for another."""

from __future__ import annotations

from pathlib import Path

import pytest

import stepwell
from stepwell.compiler import compile_plan
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
