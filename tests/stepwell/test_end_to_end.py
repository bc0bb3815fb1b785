"""The whole chain on the example network: every level means the same, plans run without the compiler, commands and their errors."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

import stepwell
from stepwell.driver.modules import weights_of
from stepwell.passes.levels import LEVELS, check_level, level_of
from stepwell.runtime.errors import UsageError
from stepwell.runtime.plan_file import read_plan
from stepwell.testing.run_line import call

DIGITS = Path(__file__).resolve().parents[2] / "examples" / "digits"
MODEL = DIGITS / "digits.onnx"
SHAPES = {"image": (4, 1, 8, 8)}
CPU_LEVELS = ("graph", "linalg", "tile", "plan")
BLOCKED = ("xdsl", "onnx", "llvmlite", "safetensors", "stepwell.frontends", "stepwell.dialects", "stepwell.transforms")


@pytest.mark.parametrize("target", ["x86-64-v4", "x86-64-v3", "sm_90a"])
def test_every_level_means_the_same(target: str, integer_model: ModuleType) -> None:
    """With integer weights nothing is rounded, so all levels agree bit for bit."""
    module = stepwell.import_model(integer_model.integer_model(4))
    inputs = {"image": integer_model.integer_images(4, seed=1)}
    expected = stepwell.interpret(module, inputs)
    for level in CPU_LEVELS:
        module = stepwell.lower(module, to=level, target=target)
        assert level_of(module) == level
        check_level(module, level)
        found = stepwell.interpret(module, inputs)
        assert {name: array.tobytes() for name, array in found.items()} == {
            name: array.tobytes() for name, array in expected.items()
        }, level


@pytest.mark.parametrize("target", ["x86-64-v3", "sm_90a"])
def test_every_level_names_every_op(target: str) -> None:
    from stepwell.passes import names_of
    from stepwell.testing.check_pass import STRUCTURE, source_names

    module = stepwell.import_model(MODEL, shapes=SHAPES)
    names = source_names(module)
    for level in LEVELS:
        module = stepwell.lower(module, to=level, target=target)
        nameless = {op.name for op in module.walk() if op.name not in STRUCTURE and not names_of(op)}
        assert not nameless, level
        assert {name for op in module.walk() for name in names_of(op)} <= names


def test_plan_classifies_as_the_reference(digits_plan: Path, reference: ModuleType) -> None:
    images, _ = reference.load_heldout()
    expected = reference.classify(reference.load_weights(MODEL), images)
    with stepwell.load(digits_plan, "cpu") as engine:
        logits = [engine.run({"image": images[i : i + 4]})["logits"] for i in range(0, 40, 4)]
    assert (np.concatenate(logits).argmax(axis=1) == expected[:40]).all()


def test_integer_plan_agrees_bit_for_bit(integer_model: ModuleType) -> None:
    model = integer_model.integer_model(4)
    module = stepwell.import_model(model)
    inputs = {"image": integer_model.integer_images(4, seed=2)}
    with stepwell.compile(model, target="cpu") as engine:
        report = stepwell.compare(engine, module, inputs=inputs)
    assert all(output.identical for output in report.outputs), str(report)


def test_plan_agrees_with_onnxruntime(digits_plan: Path, tmp_path: Path) -> None:
    with stepwell.load(digits_plan, "cpu") as engine:
        report = stepwell.compare(engine, MODEL, rtol=1e-5)
        assert report.agrees, str(report)
        inputs = {"image": np.zeros((4, 1, 8, 8), np.float32)}
        wrong = stepwell.compare(engine, {"logits": np.ones((4, 10), np.float32)}, inputs=inputs)
    assert not wrong.agrees and "DIFFERS" in str(wrong)


def test_plan_runs_where_the_compiler_is_not(digits_plan: Path) -> None:
    code = (
        f"import sys; sys.modules.update(dict.fromkeys({BLOCKED!r}))\n"
        "import numpy as np, stepwell\n"
        f"with stepwell.load({str(digits_plan)!r}, 'cpu') as engine:\n"
        "    print(engine.run({'image': np.zeros((4, 1, 8, 8), np.float32)})['logits'].shape)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "(4, 10)"


def test_plan_holds_what_it_says(digits_plan: Path) -> None:
    plan = read_plan(digits_plan)
    assert [section.name for section in plan.sections] == ["cpu", "sm_90a"]
    assert set(plan.details) >= {"versions", "pipelines", "remarks", "precision"}
    code, out, _ = call(["stepwell-opt", str(digits_plan), "--arch", "sm_90a", "--level", "kernel"])
    assert code == 0 and "plan.program @main" in out and "hopper." in out


def test_modules_on_disk_go_on_where_they_stopped(tmp_path: Path) -> None:
    """graph text with its weights beside it compiles to the same code as the model in one go."""
    graph, weights = tmp_path / "net.mlir", tmp_path / "net.safetensors"
    words = ["stepwell-opt", str(MODEL), "--shape", "image:4x1x8x8", "-o", str(graph), "--weights-out", str(weights)]
    assert call([*words, "--print-debuginfo"])[0] == 0
    resumed = stepwell.import_model(graph)
    assert weights_of(resumed) is not None
    direct = stepwell.compile_plan(MODEL, target="x86-64-v3", shapes=SHAPES).sections[0]
    again = stepwell.compile_plan(resumed, target="x86-64-v3").sections[0]
    assert bytes(direct.code["o"]) == bytes(again.code["o"]) and bytes(direct.constants) == bytes(again.constants)


def test_commands(digits_plan: Path, tmp_path: Path) -> None:
    images, output = tmp_path / "images.npy", tmp_path / "out.npz"
    np.save(images, np.zeros((4, 1, 8, 8), np.float32))
    code, out, _ = call(["stepwell", "inspect", str(digits_plan)])
    assert code == 0 and "section     cpu" in out and "section     sm_90a" in out and "image: 4x1x8x8xf32" in out
    code, out, _ = call(["stepwell", "inspect", str(digits_plan), "--json", "--section", "cpu"])
    assert code == 0 and set(json.loads(out)["sections"]) == {"cpu"}
    words = [
        "stepwell",
        "run",
        str(digits_plan),
        "--target",
        "cpu",
        "--input",
        f"image={images}",
        "--output",
        str(output),
    ]
    code, out, _ = call([*words, "--profile"])
    assert code == 0 and "logits: float32[4, 10]" in out
    assert np.load(output)["logits"].shape == (4, 10)
    words = ["stepwell", "bench", str(digits_plan), "--target", "cpu", "--duration", "0.05", "--warmup", "0", "--json"]
    code, out, _ = call(words)
    assert code == 0 and json.loads(out)["throughput"] > 0


MISTAKES = [
    (["compile", "missing.onnx"], 2, "no such file"),
    (["compile", str(MODEL), "--target", "cpu"], 3, "image"),
    (["compile", str(MODEL), "--target", "z80", "--shape", "image:4x1x8x8"], 2, "unknown target"),
    (
        ["compile", str(MODEL), "--target", "cpu", "--precision", "fp7", "--shape", "image:4x1x8x8"],
        2,
        "unknown precision",
    ),
    (["compile", str(MODEL), "--target", "cpu", "--shape", "picture:4x1x8x8"], 2, "picture"),
    (["run", "{plan}", "--target", "cpu"], 2, "missing"),
    (["run", "{plan}", "--target", "cpu", "--input", "image=missing.npy"], 2, "cannot read"),
    (["run", "{plan}", "--target", "cpu", "--input", "image={plan}"], 2, "image"),
    (["run", "{plan}", "--target", "tpu", "--random", "0"], 4, "no section"),
    (["run", "missing.plan"], 2, "no such file"),
    (["run", "{plan}", "--random", "0", "--output", "nowhere/x.npz"], 2, "no such folder"),
    (["run", str(MODEL)], 3, "has no fixed shape"),
    (["bench", str(MODEL)], 4, "not a plan file"),
    (["inspect", "{plan}", "--section", "x"], 2, "no section"),
    (["bench", "{plan}", "--target", "cpu", "--duration", "0"], 2, "duration"),
]


@pytest.mark.parametrize(("words", "code", "message"), MISTAKES)
def test_mistakes_end_in_one_error(
    words: list[str], code: int, message: str, digits_plan: Path, tmp_path: Path
) -> None:
    filled = [word.replace("{plan}", str(digits_plan)) for word in words]
    output = ["-o", str(tmp_path / "x.plan")] if words[0] == "compile" else []
    got, _, said = call(["stepwell", *filled, *output])
    assert got == code and message in said and said.count("error:") == 1 and "Traceback" not in said
    assert not list(tmp_path.iterdir())


def test_library_mistakes() -> None:
    with pytest.raises(UsageError, match="twice"):
        stepwell.compile_plan(MODEL, target=["cpu", "cpu"], shapes=SHAPES)
    with pytest.raises(UsageError, match="unknown level"):
        stepwell.lower(stepwell.import_model(MODEL, shapes=SHAPES), to="moon", target="cpu")
    with pytest.raises(UsageError, match="needs a target"):
        stepwell.lower(stepwell.import_model(MODEL, shapes=SHAPES), to="tile")


def test_building_and_saving_needs_no_device(tmp_path: Path) -> None:
    with stepwell.compile(MODEL, target="sm_90a", shapes=SHAPES) as engine:
        engine.save(tmp_path / "digits.plan")
    assert [section.name for section in read_plan(tmp_path / "digits.plan").sections] == ["sm_90a"]
