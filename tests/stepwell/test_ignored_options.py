"""Options that a target would ignore are refused, in the library and on the commands."""

from __future__ import annotations

from pathlib import Path

import pytest

import stepwell
from stepwell.runtime.errors import UsageError
from stepwell.testing.run_line import call

MODEL = Path(__file__).resolve().parents[2] / "examples" / "digits" / "digits.onnx"
SHAPES = {"image": (4, 1, 8, 8)}


def test_tf32_is_refused_on_the_cpu() -> None:
    with pytest.raises(UsageError, match="precision tf32 means nothing on target cpu"):
        stepwell.pipeline("cpu", precision="tf32")
    with pytest.raises(UsageError, match="precision tf32 means nothing"):
        stepwell.compile_plan(MODEL, target=["sm_90a", "x86-64-v3"], precision="tf32", shapes=SHAPES)
    assert stepwell.pipeline("sm_90a", precision="tf32").precision == "tf32"


@pytest.mark.parametrize(
    "command",
    [
        ["stepwell", "compile", str(MODEL), "--shape", "image:4x1x8x8", "--target", "x86-64-v3", "--precision", "tf32"],
        [
            "stepwell-opt",
            str(MODEL),
            "--shape",
            "image:4x1x8x8",
            "--arch",
            "cpu",
            "--to",
            "tile",
            "--precision",
            "tf32",
        ],
    ],
)
def test_commands_refuse_it_too(command: list[str], tmp_path: Path) -> None:
    code, _, err = call([*command, "-o", str(tmp_path / "out")])
    assert code == 2 and "precision tf32 means nothing on target" in err and not (tmp_path / "out").exists()


def test_a_pipeline_settles_precision_and_family() -> None:
    steps = stepwell.pipeline("sm_90a", precision="fp16")
    with pytest.raises(UsageError, match="for precision fp16, not fp32"):
        stepwell.compile_plan(MODEL, target="sm_90a", precision="fp32", shapes=SHAPES, pipeline=steps)
    with pytest.raises(UsageError, match="for sm_90a, not cpu"):
        stepwell.compile_plan(MODEL, target="x86-64-v3", shapes=SHAPES, pipeline=steps)
