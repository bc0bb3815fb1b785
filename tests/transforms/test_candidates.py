"""Schedules as families: what is offered is legal by the rules for configs given by hand, what is refused has a reason, and both are printed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from xdsl.dialects.builtin import ModuleOp, TensorType, f16, f32, i32

import stepwell
from stepwell.dialects import graph, tile
from stepwell.driver.candidates import listing
from stepwell.driver.driver import passes_of
from stepwell.passes.target import resolve
from stepwell.plugins.universe import make_context
from stepwell.testing.run_line import call
from stepwell.testing.strategies import GeneratedGraph
from stepwell.transforms.linalg._stages import stages_of
from stepwell.transforms.linalg.families import loops, wgmma
from stepwell.transforms.linalg.families.base import Setting, candidate_id
from stepwell.transforms.linalg.families.table import FAMILIES, LAST, answer, preferred

ROOT = Path(__file__).resolve().parents[2]
DIGITS = str(ROOT / "examples" / "digits" / "digits.onnx")
TARGETS = ("sm_90a", "x86-64-v4", "x86-64-v3")
MakeNetwork = Callable[..., GeneratedGraph]


def ops(x: Any, w: Any) -> list[Any]:
    """A product, what no product is, and elementwise work."""
    product = graph.MatmulOp(x, w, transpose_b=True)
    pooled = graph.ReshapeOp(product.result, (1, 8, 4, 16))
    pool = graph.PoolOp(pooled.result, kind="max", kernel=[2, 2], strides=[2, 2], pads=[0] * 4, dilations=[1, 1])
    return [product, pooled, pool, graph.UnaryOp(pool.result, kind="relu")]


def module_of(network: MakeNetwork, element: Any, target: str) -> ModuleOp:
    case = network(ops, TensorType(element, (32, 64)), TensorType(element, (16, 64)))
    return stepwell.lower(case.module, "linalg", target=target)


@pytest.mark.parametrize("element", [f16, f32, i32], ids=str)
@pytest.mark.parametrize("target", TARGETS)
def test_every_candidate_is_legal_by_hand(network: MakeNetwork, target: str, element: Any) -> None:
    """Each is put on its fusion, kept by the same family's rules, and becomes a kernel."""
    module = module_of(network, element, target)
    found = stepwell.candidates(module)
    assert len(found) >= 3
    for position, one in enumerate(found):
        ids = [candidate.id for candidate in one.candidates]
        assert len(set(ids)) == len(ids) and one.chosen in one.candidates and ids[-1].startswith("loops-")
        for candidate in one.candidates:
            copy = module.clone()
            fusion = [op for op in copy.walk() if isinstance(op, graph.FusionOp)][position]
            fusion.config = tile.ConfigAttr(candidate.config)
            for pass_ in passes_of("linalg-choose-config,stepwell-convert-linalg-to-tile"):
                pass_.apply(make_context(), copy)
            assert candidate.id == candidate_id(candidate.family, candidate.config) and candidate.estimate_ns > 0


def test_every_family_offers_or_says_why(network: MakeNetwork) -> None:
    for target in TARGETS:
        for one in stepwell.candidates(module_of(network, f32, target)):
            offered = {candidate.family for candidate in one.candidates}
            refused = {refused.family for refused in one.refused if not refused.id}
            assert offered | refused == {family.name for family in (*FAMILIES, LAST)} and not offered & refused


def test_what_is_listed_is_what_was_taken(network: MakeNetwork) -> None:
    """With a config by hand the mark stands there."""
    module = module_of(network, f16, "sm_90a")
    fusion = next(op for op in module.walk() if isinstance(op, graph.FusionOp))
    assert "* wgmma-64x16x64-s4" in listing(stepwell.candidates(module))
    fusion.config = tile.ConfigAttr(tile.Config(block=(128,), form="loops"))
    marked = [line for line in listing(stepwell.candidates(module)[:1]).splitlines() if line.startswith("  *")]
    assert [line.split()[1] for line in marked] == ["loops-128"]


def test_the_command_prints_them() -> None:
    words = [
        "stepwell-opt",
        DIGITS,
        "--shape",
        "image:2x1x8x8",
        "--arch",
        "sm_90a",
        "--to",
        "linalg",
        "--print-candidates",
    ]
    code, out, err = call(words)
    assert code == 0, err
    assert "stem/conv + stem/relu: no matrix product" in out and "    fma: fma is the vector instruction of CPUs" in out
    assert out.count("  * ") == 6 and "builtin.module" not in out


def test_precision_fp32_keeps_off_the_tensor_cores(network: MakeNetwork) -> None:
    case = network(ops, TensorType(f32, (32, 64)), TensorType(f32, (16, 64)))
    first = stepwell.candidates(case.module, target="sm_90a", precision="fp32")[0]
    assert first.chosen.family == "columns"
    assert "wgmma refused: f32 operands would be rounded to tf32 and tf32 = false" in [r.reason for r in first.refused]


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["--arch", "sm_90a"], "the module is at level graph: fusions have candidates at linalg"),
        (["--arch", "sm_90a", "--to", "tile"], "the module is at level tile"),
    ],
)
def test_only_fusions_at_linalg_have_candidates(words: list[str], reason: str) -> None:
    code, _, err = call(["stepwell-opt", DIGITS, "--shape", "image:2x1x8x8", "--print-candidates", *words])
    assert code == 2 and reason in err


def test_a_candidate_that_is_not_legal_is_dropped(network: MakeNetwork, monkeypatch: pytest.MonkeyPatch) -> None:
    """A family that forgets registers: its candidates fail when they are built, and the next family is taken."""
    module = module_of(network, f16, "sm_90a")
    fusion = next(op for op in module.walk() if isinstance(op, graph.FusionOp))
    stages, setting = stages_of(fusion), Setting(resolve("sm_90a").processor)
    assert answer(stages, setting).chosen.family == "wgmma"
    monkeypatch.setattr(wgmma, "COLUMNS", (12,))
    found = answer(stages, setting)
    assert found.chosen.family == "columns" and any("12 columns" in refused.reason for refused in found.refused)


def test_the_fastest_family_needs_a_clear_lead() -> None:
    def candidate(family: str, estimate: float) -> Any:
        made = next(loops.candidates(stages, Setting("sm_90a")))
        return type(made)(family, estimate, made.config, "")

    module = stepwell.lower(stepwell.import_model(DIGITS, shapes={"image": (1, 1, 8, 8)}), "linalg", target="sm_90a")
    stages = stages_of(next(op for op in module.walk() if isinstance(op, graph.FusionOp)))
    assert preferred([candidate("wgmma", 3.9), candidate("columns", 1.0)]).family == "wgmma"
    assert preferred([candidate("wgmma", 4.1), candidate("columns", 1.0)]).family == "columns"


LOOPS = """
func.func @main(%x: tensor<3x5xf32> {stepwell.name = "x"}) -> (tensor<3x5xf32> {stepwell.name = "y"}) {
  %y = graph.cumulative sum %x dim 1 : tensor<3x5xf32> -> tensor<3x5xf32> loc("running")
  func.return %y : tensor<3x5xf32>
}
"""


@pytest.mark.parametrize("target", ["sm_90a", "x86-64-v3"])
def test_kernels_of_loops_are_counted_and_shown(target: str, tmp_path: Path) -> None:
    model, plan = tmp_path / "net.mlir", tmp_path / "net.plan"
    model.write_text(LOOPS)
    code, _, err = call(["stepwell", "compile", str(model), "--target", target, "-o", str(plan)])
    assert code == 0 and "1 of the kernels are loops, which are slow: running (--remarks choose says why)" in err
    _, out, _ = call(["stepwell", "inspect", str(plan)])
    assert ", 1 by loops" in out and "(loops)" in out
    _, out, _ = call(["stepwell", "inspect", str(plan), "--remarks"])
    assert "no tiles: graph.cumulative has no form in stages of a kernel" in out
