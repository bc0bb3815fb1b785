"""From plan.program to the runtime's JSON: everything that the program says arrives, and the reader accepts it."""

from __future__ import annotations

import hashlib
import json

import numpy as np
import pytest
from xdsl.dialects.builtin import ModuleOp
from xdsl.parser import Parser

from stepwell.dialects import graph
from stepwell.dialects.plan.constants import build_constants
from stepwell.dialects.weights import WeightStore
from stepwell.passes import PassFailure
from stepwell.plugins.universe import make_context
from stepwell.runtime.errors import UsageError
from stepwell.runtime.program import Argument, Copy, Launch, Place, Table, TensorMap
from stepwell.runtime.program_reader import read_program
from stepwell.transforms.plan._serialize import find_program, serialize_program

STORE = WeightStore()
WEIGHT = STORE.add("w", np.arange(8, dtype=np.float32).reshape(2, 4)).then(graph.StepAttr("transpose", [1, 0]))
TEXT = f"""
builtin.module attributes {{stepwell.level = "kernel", stepwell.target = "TARGET", stepwell.cpu = "x86-64-v3"}} {{
  func.func private @unused() -> ()
  func.func private @second() -> ()
  func.func private @first() -> ()
  plan.program @main arena 4096 constants 512 {{
    %x = plan.binding "x" input : !plan.buffer<1x4x4x8xf32>
    %y = plan.binding "y" output : !plan.buffer<16x9x8xf32>
    %z = plan.binding "z" output : !plan.buffer<4x2xf32>
    %w = plan.constant {WEIGHT} at 256 : !plan.buffer<4x2xf32>
    %c = plan.constant dense<[1.0, 2.0]> : tensor<2xf32> at 0 : !plan.buffer<2xf32>
    %a = plan.slice at 1024 live [0, 1] : !plan.buffer<16x8xf32>
    %v = plan.view %a offset 16 : !plan.buffer<16x8xf32> -> !plan.buffer<8x4xf32, strides = [8, 1]>
    %d = plan.view %a offset 8 : !plan.buffer<16x8xf32> -> !plan.buffer<8x8xf32>
    %win = plan.window %x kernel [3, 3] strides [1, 1] pads [1, 1, 1, 1] dilations [1, 1] fill 0xFF800000 : f32 : !plan.buffer<1x4x4x8xf32> -> !plan.window<16x9x8xf32>
    %table = plan.pointer_table %win rows 6 : !plan.window<16x9x8xf32>
    %dense = plan.pointer_table %d rows 4 : !plan.buffer<8x8xf32>
    %im = plan.tensor_map im2col %x box [64, 8] lower [-1, -1] upper [0, 0] swizzle 32 : !plan.buffer<1x4x4x8xf32>
    %tm = plan.tensor_map tiled %v box [2, 4] as "tf32" : !plan.buffer<8x4xf32, strides = [8, 1]>
    %n = arith.constant -3 : i32
    %g1 = arith.constant 1 : i32
    %rows = plan.extent %y[0] : !plan.buffer<16x9x8xf32> -> i32
    %g4 = plan.ceil_div %rows, 4 : i32
    %t3 = arith.constant 3 : i64
    %t5 = arith.constant 5 : i64
    %f = arith.constant 0.5 : f32
    FIRST loc("conv")
    SECOND
    plan.copy %w to %z : !plan.buffer<4x2xf32> to !plan.buffer<4x2xf32>
  }}
}}
"""
VALUES = "(!plan.buffer<1x4x4x8xf32>, !plan.buffer<4x2xf32>, !plan.buffer<16x8xf32>, i32, f32)"
OUT = "!plan.buffer<16x9x8xf32>"
CUDA = (
    f"plan.launch @first(%x, %w, %a, %n, %f) grid %g4 block [128, 1, 1] shared 512 pdl true EFFECTS : {VALUES}",
    f"plan.launch @second(%im, %tm, %y) grid %g1 block [64, 1, 1] EFFECTS : (!plan.tensor_map, !plan.tensor_map, {OUT})",
)
CPU = (
    f"plan.launch @first(%x, %w, %a, %n, %f) tiles %t3 EFFECTS : {VALUES}",
    f"plan.launch @second(%table, %dense, %y) tiles %t5 EFFECTS : (!plan.table, !plan.table, {OUT})",
)


def parse(target: str, launches: tuple[str, str]) -> ModuleOp:
    """The module above with these launches, verified."""
    text = TEXT.replace("TARGET", target).replace("FIRST", launches[0]).replace("SECOND", launches[1])
    module = Parser(make_context(), text.replace("EFFECTS", "reads [0, 1] writes [2]")).parse_module()
    module.verify()
    return module


def test_cuda_programs_arrive() -> None:
    module = parse("sm_90a", CUDA)
    data = serialize_program(module, "the text")
    assert data["module_hash"] == hashlib.sha256(b"the text").hexdigest()
    program = read_program(json.loads(json.dumps(data)))
    assert (program.target, program.arena, program.constants, program.level) == ("sm_90a", 4096, 512, "")
    assert [(b.name, b.is_input, b.dtype, b.shape) for b in program.bindings] == [
        ("x", True, "f32", (1, 4, 4, 8)),
        ("y", False, "f32", (16, 9, 8)),
        ("z", False, "f32", (4, 2)),
    ]
    assert program.kernels == ("second", "first")
    assert program.launches[0] == Launch(
        1,
        (
            Argument("pointer", Place("binding", 0, 0)),
            Argument("pointer", Place("constants", 256)),
            Argument("pointer", Place("arena", 1024)),
            Argument("i32", value=-3),
            Argument("f32", value=0.5),
        ),
        ("conv",),
        grid=(4, 1, 1),
        block=(128, 1, 1),
        shared=512,
        pdl=True,
    )
    assert program.launches[1].arguments[:2] == (Argument("tensor_map", index=0), Argument("tensor_map", index=1))
    im2col, tiled = program.tensor_maps
    assert im2col == TensorMap(
        "im2col", Place("binding", 0, 0), "f32", (1, 4, 4, 8), (128, 32, 8, 1), (64, 8), (1, 1, 1, 1), (-1, -1), (0, 0), 32, 128
    )  # fmt: skip
    assert tiled.place == Place("arena", 1024 + 64) and tiled.dtype == "tf32" and tiled.strides == (8, 1)
    assert program.copies == (Copy(Place("constants", 256), Place("binding", 0, 2), 32),)


def test_cpu_programs_arrive() -> None:
    program = read_program(serialize_program(parse("cpu", CPU)))
    assert (program.target, program.level) == ("cpu", "x86-64-v3")
    assert program.windows[0].fill == float("-inf") and program.windows[0].pads == (1, 1, 1, 1)
    assert program.tables == (
        Table(6, program.windows[0]),
        Table(4, None, Place("arena", 1024 + 32), "f32", (8, 1, 8)),
    )
    assert [launch.tiles for launch in program.launches] == [3, 5]


def test_constants_lie_at_their_offsets() -> None:
    program = find_program(parse("cpu", CPU))
    arena = build_constants(program, STORE)
    assert np.frombuffer(arena[:8], np.float32).tolist() == [1, 2]
    assert np.frombuffer(arena[256:288], np.float32).tolist() == [0, 4, 1, 5, 2, 6, 3, 7]
    assert not any(arena[8:256]) and len(arena) == 512
    with pytest.raises(UsageError, match='the values of weight "w" are needed\n  hint: give them: --weights'):
        build_constants(program)


def test_refusals() -> None:
    module = parse("cpu", CPU)
    find_program(module).arena = None
    with pytest.raises(PassFailure, match="plan.program: offsets are not assigned\n  hint: run plan-assign-offsets"):
        serialize_program(module)
    outs = "plan.launch @first(%x) outs(%a) : (!plan.buffer<1x4x4x8xf32>) outs(!plan.buffer<16x8xf32>)"
    with pytest.raises(PassFailure, match="conv: the launch of @first still has outs: its kernel is not lowered"):
        serialize_program(parse("cpu", (outs, CPU[1])))
    with pytest.raises(PassFailure, match="one plan.program, here are 0"):
        find_program(ModuleOp([]))
    module = parse("cpu", CPU)
    del module.attributes["stepwell.target"]
    with pytest.raises(PassFailure, match="the module has no stepwell.target"):
        serialize_program(module)
