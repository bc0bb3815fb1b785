"""The verifier between passes finds what `module.verify()` finds, and does not visit what nobody touched."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import pytest
from xdsl.dialects.builtin import IntegerAttr, ModuleOp, StringAttr, i32, i64
from xdsl.ir import Operation
from xdsl.parser import Parser
from xdsl.utils.exceptions import VerifyException

from stepwell.dialects import plan, warp
from stepwell.driver.verifying import ModuleVerifier
from stepwell.plugins.universe import make_context

TEXT = """
builtin.module attributes {stepwell.level = "kernel", stepwell.target = "sm_90a"} {
  warp.kernel @first(%x: !warp.global<f32>, %y: !warp.global<f32>, %n: i32) threads 64 shared 128 {
    %c = arith.constant 4 : i32
    %d = arith.addi %n, %c : i32
    warp.return
  }
  warp.kernel @second(%x: !warp.global<f32>, %y: !warp.global<f32>) threads 64 shared 0 {
    warp.return
  }
  plan.program @main {
    %x = plan.binding "x" input : !plan.buffer<64xf32>
    %y = plan.binding "y" output : !plan.buffer<64xf32>
    %a = plan.slice live [0, 1] : !plan.buffer<64xf32>
    %m = plan.extent %x[0] : !plan.buffer<64xf32> -> i32
    %g = plan.ceil_div %m, 64 : i32
    plan.launch @first(%x, %a, %m) grid %g block [64, 1, 1] shared 128 reads [0] writes [1] : (!plan.buffer<64xf32>, !plan.buffer<64xf32>, i32)
    plan.launch @second(%a, %y) grid %g block [64, 1, 1] shared 0 reads [0] writes [1] : (!plan.buffer<64xf32>, !plan.buffer<64xf32>)
  }
}
"""


Found = TypeVar("Found", bound=Operation)


def parsed() -> ModuleOp:
    module = Parser(make_context(), TEXT).parse_module()
    module.verify()
    return module


def find(module: ModuleOp, of: type[Found]) -> Found:
    return next(op for op in module.walk() if isinstance(op, of))


def threads(module: ModuleOp) -> None:
    """The kernel itself is right: its launch is not."""
    find(module, warp.KernelOp).threads = IntegerAttr(128, find(module, warp.KernelOp).threads.type)


def parameter(module: ModuleOp) -> None:
    block = find(module, warp.KernelOp).body.block
    block.insert_arg(i32, 3)


def missing_kernel(module: ModuleOp) -> None:
    kernel = list(module.ops)[1]
    kernel.detach()
    kernel.erase()


def renamed(module: ModuleOp) -> None:
    list(module.ops)[1].properties["sym_name"] = StringAttr("third")


def twice(module: ModuleOp) -> None:
    list(module.ops)[1].properties["sym_name"] = StringAttr("first")


def result_type(module: ModuleOp) -> None:
    op = next(op for op in module.walk() if op.name == "arith.addi")
    op.results[0]._type = i64


def argument_type(module: ModuleOp) -> None:
    find(module, warp.KernelOp).body.block.args[2]._type = i64


def a_property(module: ModuleOp) -> None:
    find(module, plan.ExtentOp).properties["dim"] = IntegerAttr(1, i64)


def an_operand(module: ModuleOp) -> None:
    launch = find(module, plan.LaunchOp)
    launch.operands[2] = launch.operands[0]


def no_terminator(module: ModuleOp) -> None:
    last = find(module, warp.KernelOp).body.block.last_op
    assert last is not None
    last.detach()
    last.erase()


def order(module: ModuleOp) -> None:
    second = list(module.walk())[-1]
    block, first = second.parent_block(), find(module, plan.LaunchOp)
    assert block is not None
    second.detach()
    block.insert_op_before(second, first)


CHANGES: list[Callable[[ModuleOp], None]] = [
    threads, parameter, missing_kernel, renamed, twice, result_type, argument_type, a_property, an_operand, no_terminator, order,
]  # fmt: skip


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_a_change_in_place_is_found(change: Callable[[ModuleOp], None]) -> None:
    module, verifier = parsed(), ModuleVerifier()
    verifier.verify(module)
    change(module)
    with pytest.raises(VerifyException) as expected:
        module.verify()
    with pytest.raises(VerifyException) as found:
        verifier.verify(module)
    assert str(found.value).splitlines()[-1] == str(expected.value).splitlines()[-1]
    with pytest.raises(VerifyException):
        verifier.verify(module)


def test_what_nobody_touched_is_not_visited() -> None:
    module, verifier = parsed(), ModuleVerifier()
    verifier.verify(module)
    assert verifier.visited == 3
    verifier.verify(module)
    assert verifier.visited == 3
    constant = next(op for op in module.walk() if op.name == "arith.constant")
    constant.properties["value"] = IntegerAttr(5, i32)
    verifier.verify(module)
    assert verifier.visited == 4
    constant.properties["value"] = IntegerAttr(5, i32)
    verifier.verify(module)
    assert verifier.visited == 4
    module.attributes["stepwell.target"] = StringAttr("sm_90a")
    verifier.verify(module)
    assert verifier.visited == 4
    module.attributes["stepwell.target"] = StringAttr("cpu")
    verifier.verify(module)
    assert verifier.visited == 7


def test_the_driver_forgets_a_module_that_is_another() -> None:
    verifier = ModuleVerifier()
    verifier.verify(parsed())
    other = parsed()
    threads(other)
    with pytest.raises(VerifyException):
        verifier.verify(other)
    verifier.verify(parsed())
    assert verifier.visited > 3
