"""Tile kernels lowered for sm_90a: the simulator computes what NumPy does, bit for bit; and what is refused, with the reason."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest
from xdsl.dialects.builtin import IntegerAttr, ModuleOp, i64
from xdsl.parser import Parser

from stepwell.dialects import hopper, plan, tile, warp
from stepwell.dialects.hopper.simulator import simulate_program
from stepwell.driver.driver import passes_of
from stepwell.driver.modules import make_context
from stepwell.passes import PassFailure, StepwellContext, location_of, names_of
from stepwell.testing import gpu_kernels
from stepwell.testing.check_pass import check_pass
from stepwell.testing.gpu_contractions import Ending, Schedule, Window, conv, gemm
from stepwell.transforms.kernel_to_llvm.convert_hopper_roles_to_scf import ConvertHopperRolesToScf
from stepwell.transforms.pipelines import KERNEL, RINGS
from stepwell.transforms.plan.annotate_refs import AnnotateRefsPass
from stepwell.transforms.plan.assign_offsets import AssignOffsetsPass
from stepwell.transforms.tile_to_gpu.convert_tile_to_hopper import ConvertTileToHopper
from stepwell.transforms.tile_to_gpu.convert_tile_to_warp import ConvertTileToWarp
from stepwell.transforms.tile_to_plan.convert_tile_to_plan import ConvertTileToPlanPass


@cache
def small() -> dict[str, Any]:
    return {case.name: case for case in gpu_kernels.small_cases()}


NAMES = [
    "gemm_f16", "gemm_f16_residual", "gemm_tf32", "gemm_n10", "gemm_n10_f16", "gemm_gelu", "gemm_wide", "gemm_swizzle64",
    "gemm_swizzle32", "conv_f16", "conv_residual", "conv_stride", "conv_dilated", "conv_gelu", "stem", "stem_rgb_f16",
    "pool", "pool_f16", "pool_odd", "elementwise", "elementwise_f16_n10",
]  # fmt: skip


def planned(case: Any) -> tuple[StepwellContext, ModuleOp]:
    ctx = make_context(case.weights)
    module = Parser(ctx, case.text).parse_module()
    for step in (ConvertTileToPlanPass(), AnnotateRefsPass(), AssignOffsetsPass()):
        step.apply(ctx, module)
    return ctx, module


def lowered(case: Any) -> ModuleOp:
    ctx, module = planned(case)
    for step in passes_of(",".join(KERNEL["sm_90a"])):
        step.apply(ctx, module)
        module.verify()
    return module


def launch_of(module: ModuleOp) -> plan.LaunchOp:
    return next(op for op in module.walk() if isinstance(op, plan.LaunchOp))


def test_all_cases_are_listed() -> None:
    assert list(small()) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_simulator_agrees_with_numpy(name: str) -> None:
    case = small()[name]
    module = lowered(case)
    assert not any(isinstance(op, tile.KernelOp) for op in module.walk())
    (found,) = simulate_program(module, case.inputs, case.weights, seed=7).outputs.values()
    found = found.reshape(case.expected.shape)
    if case.rtol == 0.0:
        np.testing.assert_array_equal(found, case.expected)
    else:
        np.testing.assert_allclose(found.astype(float), case.expected.astype(float), rtol=case.rtol, atol=1e-3)


def test_roles_as_branches_compute_the_same() -> None:
    case = small()["gemm_f16_residual"]
    module = lowered(case)
    ConvertHopperRolesToScf().apply(make_context(), module)
    module.verify()
    assert not any(isinstance(op, hopper.RoleOp | hopper.ElectOp | hopper.WarpgroupIdOp) for op in module.walk())
    (found,) = simulate_program(module, case.inputs, case.weights).outputs.values()
    np.testing.assert_array_equal(found.reshape(case.expected.shape), case.expected)


def test_weights_are_fetched_before_the_predecessor_has_ended() -> None:
    module = lowered(small()["conv_f16"])
    producer = next(op for op in module.walk() if isinstance(op, hopper.RoleOp))
    ops = list(producer.walk())
    wait = next(i for i, op in enumerate(ops) if isinstance(op, warp.WaitPredecessorOp))
    before = [op for op in ops[:wait] if isinstance(op, hopper.TmaLoadOp)]
    assert [load.map.name_hint for load in before] == ["map_b"]


def test_operands_that_are_not_constant_wait() -> None:
    case = small()["gemm_f16"]
    ctx = make_context(case.weights)
    module = Parser(ctx, case.text.replace("packed, constant", "packed")).parse_module()
    for step in passes_of(
        ",".join(["stepwell-convert-tile-to-plan", "plan-annotate-refs", *RINGS, "stepwell-convert-tile-to-hopper"])
    ):
        step.apply(ctx, module)
    ops = list(module.walk())
    wait = next(i for i, op in enumerate(ops) if isinstance(op, warp.WaitPredecessorOp))
    assert not any(isinstance(op, hopper.TmaLoadOp) for op in ops[:wait])


def test_kernels_hold_no_extents() -> None:
    """Two shapes, one kernel: everything that differs is an argument."""
    small_one, large_one = (
        lowered(conv("k", (n, s, s, ch), 64, Window((r, r), (1, 1), (r // 2,) * 4)))
        for n, s, ch, r in ((3, 8, 64, 3), (2, 13, 128, 5))
    )
    first, second = (next(op for op in m.ops if isinstance(op, warp.KernelOp)) for m in (small_one, large_one))
    assert str(first) == str(second)


def test_launches_carry_the_abi() -> None:
    launch = launch_of(lowered(small()["gemm_n10"]))
    maps = [a.owner for a in launch.args if isinstance(a.owner, plan.TensorMapOp)]
    assert [list(m.box.get_values()) for m in maps] == [[64, 1, 32], [16, 1, 32]]
    assert {m.data_type.data for m in maps if m.data_type is not None} == {"tf32"}
    assert launch.blocks == 2
    assert launch.block is not None and list(launch.block.get_values()) == [256, 1, 1]
    assert launch.pdl is not None and launch.reads is not None and launch.writes is not None
    assert len(launch.reads) == 3 and len(launch.writes) == 1


def test_persistent_grids_are_no_larger_than_the_device() -> None:
    launch = launch_of(lowered(gemm("big", 64 * 400, 64, 64, "f16", Schedule((64, 64)), Ending("none"))))
    assert launch.blocks == 2 * 132


def test_a_grid_that_is_changed_by_hand_runs() -> None:
    """The number of blocks is plan arithmetic: another limit is another grid, and a persistent kernel does the same tiles with fewer blocks."""
    case = gemm("several", 200, 64, 64, "f16", Schedule((64, 64)), Ending("relu"))
    module = lowered(case)
    launch = launch_of(module)
    assert launch.blocks == 4 and launch.grid is not None
    limit = launch.grid.owner
    assert isinstance(limit, plan.MinimumOp)
    limit.literal = IntegerAttr(3, i64)
    module.verify()
    assert launch.blocks == 3
    (found,) = simulate_program(module, case.inputs, case.weights, seed=7).outputs.values()
    np.testing.assert_array_equal(found.reshape(case.expected.shape), case.expected)


def test_large_tiles_get_register_budgets() -> None:
    wide = [op for op in lowered(small()["gemm_wide"]).walk() if isinstance(op, hopper.RoleOp)]
    narrow = [op for op in lowered(small()["gemm_f16"]).walk() if isinstance(op, hopper.RoleOp)]
    assert [role.registers.value.data for role in wide if role.registers is not None] == [40, 232]
    assert all(role.registers is None for role in narrow)


def test_source_names_stay() -> None:
    case = small()["gemm_f16_residual"]
    ctx = make_context(case.weights)
    module = Parser(ctx, case.text).parse_module()
    for op in module.walk():
        if isinstance(op, tile.KernelOp | tile.ApplyOp):
            for inner in op.walk():
                inner.location = location_of(["fc1"])
    for step in passes_of(
        ",".join(["stepwell-convert-tile-to-plan", "plan-annotate-refs", *RINGS, "stepwell-convert-tile-to-hopper"])
    ):
        step.apply(ctx, module)
    kernel = next(op for op in module.ops if isinstance(op, warp.KernelOp))
    assert {names_of(op) for op in kernel.walk()} == {("fc1",)}
    assert names_of(launch_of(module)) == ("fc1",)


@pytest.mark.parametrize("name", ["gemm_f16_residual", "conv_stride"])
def test_the_pass_keeps_its_promises_for_contractions(name: str) -> None:
    ctx, module = planned(small()[name])
    for step in passes_of(",".join(RINGS)):
        step.apply(ctx, module)
    check_pass("stepwell-convert-tile-to-hopper", module, ctx)


@pytest.mark.parametrize("name", ["stem", "pool_odd", "elementwise"])
def test_the_pass_keeps_its_promises_without_products(name: str) -> None:
    ctx, module = planned(small()[name])
    passes_of("tile-assign-layouts")[0].apply(ctx, module)
    check_pass("stepwell-convert-tile-to-warp", module, ctx)


def test_padding_with_something_else_is_refused() -> None:
    case = small()["conv_f16"]
    text = case.text.replace("[%i, %t, %k] dims = [0, 2] :", "[%i, %t, %k] dims = [0, 2] fill = 1.0 : f16 :", 1)
    text = text.replace("dilations [1, 1] :", "dilations [1, 1] fill 1.0 : f16 :")
    with pytest.raises(PassFailure, match="the copy engine fills with zeros only"):
        refuse(text, case)


def test_rows_of_odd_bytes_are_refused() -> None:
    with pytest.raises(PassFailure, match="rows of 84 bytes: TMA takes multiples of 16"):
        lowered(gemm("odd", 64, 64, 42, "f16"))


def test_other_epilogue_operands_are_refused() -> None:
    case = small()["gemm_f16"]
    text = case.text.replace(
        "%bias = tile.load %b[%j]", "%start = arith.constant 0 : index\n%bias = tile.load %b[%start]"
    )
    with pytest.raises(PassFailure, match="an epilogue reads the block, a vector along its columns or rows, or one"):
        refuse(text, case)


def test_products_without_roles_are_refused() -> None:
    ctx, module = planned(small()["gemm_f16"])
    with pytest.raises(PassFailure, match="its product has no roles"):
        ConvertTileToHopper().apply(ctx, module)


def test_products_are_not_for_warp() -> None:
    case = small()["gemm_f16"]
    ctx, module = planned(case)
    with pytest.raises(PassFailure, match="mma = wgmma"):
        ConvertTileToWarp().apply(ctx, module)


def test_columns_along_taps_are_refused() -> None:
    case = small()["pool"]
    text = case.text.replace("%x[%i, %t, %j] dims = [0, 2]", "%x[%i, %j, %t] dims = [0, 1]")
    assert text != case.text
    with pytest.raises(PassFailure, match="columns along dim 1 of a window ref: they are its last dim"):
        refuse(text, case)


def refuse(text: str, case: Any) -> None:
    """Lower changed text; the module must be as it was when a pass refuses."""
    ctx = make_context(case.weights)
    module = Parser(ctx, text).parse_module()
    ConvertTileToPlanPass().apply(ctx, module)
    for step in passes_of(",".join(KERNEL["sm_90a"])):
        before = str(module)
        try:
            step.apply(ctx, module)
        except PassFailure:
            assert str(module) == before
            raise
