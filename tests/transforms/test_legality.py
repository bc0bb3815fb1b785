"""What compiling refuses, before the first pass and with every reason; and that nothing else is refused later."""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from pathlib import Path

import pytest
from xdsl.dialects.builtin import IntegerType, ModuleOp, TensorType, f16, f32
from xdsl.ir import SSAValue
from xdsl.irdl import IRDLOperation, irdl_op_definition, operand_def, result_def
from xdsl.passes import ModulePass
from xdsl.utils.test_value import create_ssa_value

import stepwell
from stepwell.dialects import graph
from stepwell.driver.driver import Observer
from stepwell.driver.modules import keep_weights
from stepwell.ir.printing import module_text
from stepwell.runtime.errors import MemoryLimitError, ModelError
from stepwell.testing.run_line import call
from stepwell.testing.strategies import GeneratedGraph
from stepwell.transforms.legality import LOWERED, RULES, supported
from stepwell.transforms.pipelines import graph_passes

i4 = IntegerType(4)
MakeNetwork = Callable[..., GeneratedGraph]


@irdl_op_definition
class NewOp(IRDLOperation):
    """An op that the dialect has just gained."""

    name = "graph.new"
    operand = operand_def(TensorType)
    result = result_def(TensorType)

    def __init__(self, operand: SSAValue) -> None:
        super().__init__(operands=[operand], result_types=[operand.type])


class Recorder(Observer):
    """The passes that were run."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def before(self, step: int, pass_: ModulePass, module: ModuleOp) -> None:
        self.names.append(pass_.name)


@pytest.fixture
def refused(network: MakeNetwork) -> ModuleOp:
    """Three ops with integers of 4 bits, which no lowering takes, and two others."""

    def ops(x: SSAValue) -> list[object]:
        first = graph.UnaryOp(x, kind="relu")
        narrow = graph.CastOp(first, i4)
        again = graph.TransposeOp(narrow, (1, 0))
        return [first, narrow, again, graph.CastOp(again, f32)]

    return network(ops, TensorType(f32, (2, 3))).module


@pytest.mark.parametrize("target", ["x86-64-v3", "sm_90a"])
def test_all_reasons_come_before_the_first_pass(target: str, refused: ModuleOp) -> None:
    recorder = Recorder()
    with pytest.raises(ModelError) as caught:
        stepwell.compile_plan(refused, target=target, observers=[recorder])
    assert not recorder.names and caught.value.exit_code == 3
    assert [reason.partition(" ")[0] for reason in caught.value.reasons] == ["n1", "n2", "n3"]
    assert caught.value.reasons[1] == (
        "n2 (graph.transpose : (tensor<2x3xi4>) -> tensor<3x2xi4>): elements of type i4 are not lowered yet; "
        f"cast to one of {', '.join(map(str, LOWERED))} outside of the network"
    )


def test_the_graph_level_knows_no_target(refused: ModuleOp, tmp_path: Path) -> None:
    file = tmp_path / "net.mlir"
    file.write_text(module_text(refused))
    stepwell.lower(stepwell.import_model(file), to="graph")


def test_commands_refuse_with_code_3(refused: ModuleOp, tmp_path: Path) -> None:
    file = tmp_path / "net.mlir"
    file.write_text(module_text(refused))
    for command in (
        ["stepwell", "compile", str(file), "--target", "x86-64-v3", "-o", str(tmp_path / "net.plan")],
        ["stepwell-opt", str(file), "--to", "linalg", "--arch", "sm_90a"],
    ):
        code, _, err = call(command)
        assert code == 3 and "n1 (graph.cast" in err and "n3 (graph.cast" in err
    assert not (tmp_path / "net.plan").exists()


def test_what_has_no_rule_is_not_lowered_yet() -> None:
    refusal = supported(NewOp(create_ssa_value(TensorType(f32, (2,)))), "cpu")
    assert refusal is not None and refusal.reason == "graph.new is not lowered yet"


def test_every_rule_is_for_an_op_of_the_dialect() -> None:
    assert set(RULES) <= set(graph.GRAPH.operations)


def test_dead_ops_are_not_asked_about(network: MakeNetwork) -> None:
    def ops(x: SSAValue) -> list[object]:
        return [graph.CastOp(x, i4), graph.UnaryOp(x, kind="relu")]

    stepwell.lower(network(ops, TensorType(f32, (2, 3))).module, to="tile", target="sm_90a")


def test_an_inserted_pass_may_rewrite_what_no_lowering_takes(network: MakeNetwork) -> None:
    """The check comes after the last pass of the graph stage that is not of the default pipeline."""
    case = network(lambda x: [graph.UnaryOp(x, kind="relu")], TensorType(f16, (2, 3)))
    steps = stepwell.pipeline("sm_90a").insert("canonicalize", after="graph-assign-layout")
    usual = graph_passes("sm_90a", "model")
    before = usual[: usual.index("graph-assign-layout") + 1]
    assert steps.before_lowering == (*before, "canonicalize")
    assert steps.drop("canonicalize").before_lowering == ()
    recorder = Recorder()
    module = keep_weights(case.module, case.weights)
    stepwell.lower(module, to="linalg", target="sm_90a", pipeline=steps, observers=[recorder])
    assert recorder.names.count("graph-remove-dead") == recorder.names.count("canonicalize") == 1


@pytest.mark.parametrize("shape", [(2**31, 2**31), (2**62, 4), (2**40 + 1,)])
def test_sizes_beyond_a_plan_are_refused_before_memory_is_planned(network: MakeNetwork, shape: tuple[int, ...]) -> None:
    """Products of extents past 2**63 too, which would wrap."""
    module = network(lambda x: [graph.UnaryOp(x, kind="relu")], TensorType(f32, shape)).module
    recorder = Recorder()
    with pytest.raises(ModelError, match=f"takes {4 * prod(shape)} bytes, a plan holds at most {2**42}") as caught:
        stepwell.compile_plan(module, target="x86-64-v3", observers=[recorder])
    assert caught.value.exit_code == 3 and not recorder.names


def test_an_arena_beyond_a_plan_is_refused(network: MakeNetwork) -> None:
    """Each tensor fits, two at a time do not."""

    def ops(x: SSAValue) -> list[object]:
        made: list[IRDLOperation] = [graph.TransposeOp(x, (1, 0))]
        for _ in range(3):
            made.append(graph.ReverseOp(made[-1].results[0], dims=[0]))
        return [*made, graph.BinaryOp(made[-1].results[0], made[0].results[0], kind="add")]

    module = network(ops, TensorType(f32, (2**20, 2**20))).module
    with pytest.raises(MemoryLimitError, match=f"more than the limit of {2**42}"):
        stepwell.compile_plan(module, target="x86-64-v3")
