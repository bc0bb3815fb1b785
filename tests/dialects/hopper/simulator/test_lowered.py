"""Kernels as the compiler lowers them: convolutions and matmuls of many shapes, in random orders, persistent, and with every damage noticed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from xdsl.dialects.builtin import ModuleOp

from stepwell.dialects import plan, warp
from stepwell.dialects.hopper.simulator import (
    GlobalBuffer,
    Mutant,
    check_complete,
    judge_launch,
    simulate_kernel,
    simulate_program,
)
from stepwell.dialects.hopper.simulator.launch import Argument
from stepwell.dialects.hopper.simulator.memory import Array
from stepwell.dialects.weights import WeightStore
from stepwell.driver.driver import passes_of
from stepwell.passes import StepwellContext
from stepwell.transforms.kernel_to_llvm.convert_hopper_roles_to_scf import ConvertHopperRolesToScf
from stepwell.transforms.pipelines import PLAN, RINGS

Parse = Callable[[str], ModuleOp]
LOWERING = ",".join([*PLAN["sm_90a"], *RINGS, "stepwell-convert-tile-to-hopper"])


@dataclass(frozen=True)
class Case:
    """relu(conv(x) + bias) + residual with one Hopper kernel; kernel 0 is a plain matmul of [rows = images * size * size, channels]."""

    element: str = "f32"
    images: int = 2
    size: int = 8
    channels: int = 64
    filters: int = 64
    kernel: int = 3
    stride: int = 1
    pad: int = 1
    dilation: int = 1
    block: tuple[int, int] = (128, 64)
    k: int = 32
    stages: int = 4
    order: str = "rows"

    @property
    def out(self) -> int:
        return (self.size + 2 * self.pad - self.dilation * (max(self.kernel, 1) - 1) - 1) // self.stride + 1

    @property
    def rows(self) -> int:
        return self.images * (self.size**2 if self.kernel == 0 else self.out**2)

    @property
    def taps(self) -> int:
        return max(1, self.kernel**2)

    def data(self) -> tuple[dict[str, Array], Array, Array]:
        """Inputs, filter [filters, taps, channels] and bias: small integers."""
        generator = np.random.default_rng(3)
        dtype = np.float16 if self.element == "f16" else np.float32

        def integers(*shape: int) -> Array:
            return generator.integers(-2, 3, shape).astype(dtype)

        x = integers(self.images, self.size, self.size, self.channels)
        inputs = {"x": x, "r": integers(self.rows, self.filters)}
        bias = generator.integers(-2, 3, self.filters).astype(np.float32)
        return inputs, integers(self.filters, self.taps, self.channels), bias

    def expected(self) -> Array:
        """The result in NumPy."""
        inputs, weights, bias = self.data()
        x = inputs["x"].astype(np.float32)
        if self.kernel == 0:
            columns = x.reshape(self.rows, 1, self.channels)
        else:
            p, d, s, span = self.pad, self.dilation, self.stride, self.out * self.stride
            x = np.pad(x, ((0, 0), (p, p + s), (p, p + s), (0, 0)))
            taps = [(r * d, c * d) for r in range(self.kernel) for c in range(self.kernel)]
            columns = np.stack([x[:, r : r + span : s, c : c + span : s] for r, c in taps], 3)
            columns = columns.reshape(self.rows, self.taps, self.channels)
        product = columns.reshape(self.rows, -1) @ weights.reshape(self.filters, -1).astype(np.float32).T
        return (np.maximum(product + bias, 0) + inputs["r"]).astype(inputs["x"].dtype)

    def module(self) -> tuple[str, WeightStore]:
        """The tile level."""
        e, (m, n), rows = self.element, self.block, self.rows
        _, weights, bias = self.data()
        store = WeightStore()
        w, b = store.add("w", weights), store.add("b", bias)
        access, copy = ("window", "tma_im2col") if self.kernel else ("plain", "tma")
        swizzle = self.k * (2 if e == "f16" else 4)
        config = (
            f"block = [{m}, {n}], k = {self.k}, stages = {self.stages}, warps = {4 + m // 16}, order = {self.order}"
        )
        view = (
            f"!tile.view<{rows}x{self.taps}x{self.channels}x{e}>"
            if self.kernel
            else f"tensor<{rows}x1x{self.channels}x{e}>"
        )
        image = f"tensor<{self.images}x{self.size}x{self.size}x{self.channels}x{e}>"
        geometry = f"kernel [{self.kernel}, {self.kernel}] strides [{self.stride}, {self.stride}] pads {[self.pad] * 4}"
        geometry += f" dilations [{self.dilation}, {self.dilation}]"
        look = (
            f"tile.window %x {geometry} : {image} -> {view}" if self.kernel else f"graph.reshape %x : {image} -> {view}"
        )
        out = f"tensor<{rows}x{self.filters}x{e}>"
        wide = f"!tile.tile<{m}x{n}xf32, regs>"
        residual, narrow, stored = f"!tile.tile<{m}x{n}x{e}, regs>", "", "%z"
        if e == "f16":
            narrow, stored = "%h = arith.truncf %z : f32 to f16", "%h"
        widen = (
            "%s1 = arith.extf %s : f16 to f32"
            if e == "f16"
            else "%zero = arith.constant 0.0 : f32\n %s1 = arith.addf %s, %zero : f32"
        )
        return (
            f"""
builtin.module attributes {{stepwell.level = "tile", stepwell.target = "sm_90a"}} {{
  tile.kernel @k(%x: !tile.ref<3x{e}, {access}>, %w: !tile.ref<3x{e}, packed, constant>, %b: !tile.ref<1xf32, plain, constant>, %r: !tile.ref<2x{e}, plain>)
      -> (%y: !tile.ref<2x{e}, plain>) config #tile.config<{config}, copy = {copy}, mma = wgmma, swizzle = {swizzle}> {{
    tile.wait_predecessor
    tile.for_tiles (%i, %j) of %y block [{m}, {n}] {{
      %start = tile.fill 0.0 : f32 -> {wide}
      %acc = tile.for (%t, %k) of %x dims [1, 2] step [1, {self.k}] iter (%c = %start) -> {wide} {{
        %a = tile.load %x[%i, %t, %k] dims = [0, 2] : !tile.tile<{m}x{self.k}x{e}, ring>
        %bw = tile.load %w[%j, %t, %k] dims = [0, 2] : !tile.tile<{n}x{self.k}x{e}, ring>
        %d = tile.mma %a, %bw, %c
        tile.yield %d
      }}
      %bias = tile.load %b[%j] : !tile.tile<{n}xf32, regs>
      %bb = tile.broadcast %bias dims [1] : {wide}
      %rr = tile.load %r[%i, %j] : {residual}
      %o = tile.map (%p = %acc, %q = %bb, %s = %rr) {{
        %sum = arith.addf %p, %q : f32
        %none = arith.constant 0.0 : f32
        %positive = arith.maximumf %sum, %none : f32
        {widen}
        %z = arith.addf %positive, %s1 : f32
        {narrow}
        tile.yield {stored}
      }} : {residual}
      tile.store %o, %y[%i, %j]
    }}
  }}
  func.func @main(%x: {image} {{stepwell.name = "x"}}, %r: {out} {{stepwell.name = "r"}}) -> ({out} {{stepwell.name = "y"}}) {{
    %w = graph.weight {w} : tensor<{self.filters}x{self.taps}x{self.channels}x{e}>
    %b = graph.weight {b} : tensor<{self.filters}xf32>
    %v = {look}
    %y = tile.apply @k(%v, %w, %b, %r) : ({view}, tensor<{self.filters}x{self.taps}x{self.channels}x{e}>, tensor<{self.filters}xf32>, {out}) -> {out}
    func.return %y : {out}
  }}
}}""",
            store,
        )

    def lowered(self, parse: Parse) -> tuple[ModuleOp, WeightStore]:
        """The kernel level."""
        text, store = self.module()
        module, context = parse(text), StepwellContext()
        for each in passes_of(LOWERING):
            each.apply(context, module)
        module.verify()
        return module, store


CASES = {
    "tf32 3x3": Case(),
    "f16 3x3": Case(element="f16", k=64),
    "ragged": Case(images=3, size=7, channels=40, filters=44),
    "stride 2": Case(stride=2, size=9),
    "no pad, dilated": Case(pad=0, dilation=2, size=10),
    "pad 2": Case(kernel=2, pad=2, images=1),
    "1x1": Case(kernel=1, pad=0, filters=72),
    "short matmul": Case(kernel=0, channels=96, filters=10),
    "matmul": Case(kernel=0, images=3, channels=300, filters=10),
    "one consumer, two stages": Case(block=(64, 32), stages=2, images=1),
    "64-byte swizzle": Case(k=16, block=(128, 96), filters=100, images=1),
    "32-byte swizzle": Case(element="f16", k=16, channels=48, stages=3, images=1),
    "columns first": Case(order="columns", filters=130, images=3),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_lowered_kernels_compute_the_layer(case: Case, parse: Parse) -> None:
    module, store = case.lowered(parse)
    inputs, expected = case.data()[0], case.expected()
    for seed in range(2):
        outputs = simulate_program(module, inputs, store, seed=seed).outputs
        np.testing.assert_array_equal(outputs["y"], expected)


def first_launch(case: Case, parse: Parse) -> tuple[plan.LaunchOp, warp.KernelOp, Sequence[Argument]]:
    """The launch and what it is given."""
    module, store = case.lowered(parse)
    seen: list[tuple[plan.LaunchOp, warp.KernelOp, Sequence[Argument]]] = []
    simulate_program(module, case.data()[0], store, before_launch=lambda *given: seen.append(given))
    return seen[0]


def test_one_block_does_all_tiles_of_a_persistent_kernel(parse: Parse) -> None:
    case = CASES["ragged"]
    launch, kernel, arguments = first_launch(case, parse)
    output = arguments[launch.args.index(launch.written_values()[0])]
    assert isinstance(output, GlobalBuffer)
    for grid in (1, 2):
        check_complete(simulate_kernel(kernel, arguments, grid, seed=grid), [output])
        np.testing.assert_array_equal(output.values().reshape(case.rows, -1), case.expected())


def survivors(judged: Sequence[Mutant]) -> set[str]:
    return {mutant.name for mutant in judged if not mutant.caught}


@pytest.mark.parametrize("name", ["ragged", "matmul", "one consumer, two stages"])
def test_every_damage_to_a_lowered_kernel_is_noticed(name: str, parse: Parse) -> None:
    launch, kernel, arguments = first_launch(CASES[name], parse)
    judged = judge_launch(launch, kernel, arguments)
    unseen = survivors(judged)
    if (
        name == "one consumer, two stages"
    ):  # 64 rows and 64 columns are whole tiles, so the bounds of the store decide nothing
        unseen -= {"store past the last row", "store past the last column"}
    assert not unseen
    assert len(judged) > 20


def test_branches_do_what_roles_do(parse: Parse) -> None:
    case = CASES["stride 2"]
    module, store = case.lowered(parse)
    ConvertHopperRolesToScf().apply(StepwellContext(), module)
    module.verify()
    outputs = simulate_program(module, case.data()[0], store).outputs
    np.testing.assert_array_equal(outputs["y"], case.expected())


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """Legal layers and schedules, small enough to run in a moment."""
    element = draw(st.sampled_from(["f32", "f16"]))
    swizzle = draw(st.sampled_from([32, 64, 128]))
    kernel = draw(st.integers(0, 3))
    dilation = draw(st.integers(1, 2))
    pad = draw(st.integers(0, max(0, kernel - 1) * dilation))
    smallest = max(2, dilation * (kernel - 1) + 1)
    return Case(
        element=element,
        images=draw(st.integers(1, 3)),
        size=draw(st.integers(smallest, 9)),
        channels=draw(st.integers(1, 12)) * (8 if element == "f16" else 4),
        filters=draw(st.integers(1, 140)),
        kernel=kernel,
        stride=draw(st.integers(1, 2)),
        pad=pad,
        dilation=dilation,
        block=draw(st.sampled_from([(64, 32), (64, 128), (128, 64), (128, 96)])),
        k=swizzle // (2 if element == "f16" else 4),
        stages=draw(st.integers(2, 5)),
        order=draw(st.sampled_from(["rows", "columns"])),
    )


@settings(max_examples=10, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cases(), st.integers(0, 1000))
def test_any_layer_and_schedule(parse: Parse, case: Case, seed: int) -> None:
    module, store = case.lowered(parse)
    outputs = simulate_program(module, case.data()[0], store, seed=seed).outputs
    np.testing.assert_array_equal(outputs["y"], case.expected())
