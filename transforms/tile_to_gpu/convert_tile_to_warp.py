"""stepwell-convert-tile-to-warp: kernels without matrix product (mma = none) become plain CUDA kernels (meaning: exact).

Before:                                                            After:
  tile.kernel @pool(%x: !tile.ref<3xf32, window>) -> (%y)            warp.kernel @pool(%across: i32, .., %p0: !warp.global<f32>, ..) threads 128 shared 0 {
    tile.for_tiles (%i, %j) of %y block [64, 32] {                     warp.launch_dependents; warp.wait_predecessor
      %z = tile.fill -inf                                              %rows = warp.fragment_index "rows" ..  // n, oh, ow by magic division
      %m = tile.for (%t) of %x dims [1] step [1] iter (%c = %z) {      %m = scf.for %t = .. iter_args(%c = %z) -> (vector<16xf32>) {
        %v = tile.load %x[%i, %t, %j] dims = [0, 2]            ->        %v = warp.gather %p0[%offsets] if %inside else %fill width 4
        %n = tile.map (%a = %v, %b = %c) { max }                         %n = arith.maximumf %v, %c : vector<16xf32>
      }                                                                }
      tile.store %m, %y[%i, %j]                                        warp.fragment_store %m, %p1[..]
    }                                                                }

Stems (few input channels), pooling, elementwise work; a `tile.loops` becomes one thread for each element. One block of threads computes one block of the output; which
thread holds which elements stands in the tiles' layouts (`#tile.threads`), how many it accesses at once on the loads and stores. Decided here are
a block for each tile, where the rows and columns of a tile are numbered, and the scratch that folds between warps exchange through.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import Block, Region

from stepwell.dialects import tile, warp
from stepwell.passes import Meaning, PassFailure, StepwellPass, names_of, remarks_of
from stepwell.passes.remarks import Remark
from stepwell.transforms.tile_to_gpu.element_loops import build_loops_kernel
from stepwell.transforms.tile_to_gpu.emitter import GpuEmitter
from stepwell.transforms.tile_to_gpu.launch import GpuKernel, finish_level, replace_kernel
from stepwell.transforms.tile_to_gpu.runs import build_parallel_kernel
from stepwell.transforms.tile_to_gpu.warp_body import WarpBody, threads_of
from stepwell.transforms.tile_to_gpu.warp_refs import Parameters, blocks_of

NAME = "stepwell-convert-tile-to-warp"


def lower_kernel(kernel: tile.KernelOp | tile.LoopsKernel) -> GpuKernel:
    """The kernel that does what `kernel` does; refuses with a reason what it cannot."""
    if isinstance(kernel, tile.ParallelOp):
        return build_parallel_kernel(kernel)
    if not isinstance(kernel, tile.KernelOp):
        assert isinstance(kernel, tile.LoopsOp)
        return build_loops_kernel(kernel)
    if kernel.config.data.mma != "none":
        names = " + ".join(names_of(kernel))
        hint = "run stepwell-convert-tile-to-hopper first; mma = fma is for the CPU"
        raise PassFailure(f"@{kernel.sym_name.data} has mma = {kernel.config.data.mma}", where=names, hint=hint)
    region = Region(Block())
    parameters = Parameters(region.block, kernel)
    body = WarpBody(GpuEmitter(region.block, kernel.location), kernel, threads_of(kernel), parameters)
    body.write()
    made = warp.KernelOp(kernel.sym_name.data, region, body.threads, body.shared)
    return GpuKernel(made, parameters.listed, blocks_of(kernel))


@dataclass(frozen=True)
class ConvertTileToWarp(StepwellPass):
    """Lower every remaining `tile.kernel` and every `tile.loops` and `tile.parallel`, with their launches; the module is at the kernel level afterwards."""

    name = NAME
    level: ClassVar[str] = "plan"
    also: ClassVar[tuple[str, ...]] = ("kernel",)
    meaning: ClassVar[Meaning] = "exact"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        kernels = [k for k in op.ops if isinstance(k, tile.KernelOp | tile.LoopsKernel)]
        lowered = [(kernel, lower_kernel(kernel)) for kernel in kernels]
        for kernel, made in lowered:
            replace_kernel(op, kernel, made)
            threads, shared = made.kernel.threads.value.data, made.kernel.shared.value.data
            message = f"{threads} threads, {shared} bytes of shared memory, {len(made.parameters)} parameters"
            remarks_of(ctx).add(Remark("analysis", NAME, names_of(made.kernel), message))
        finish_level(op)


PASS = ConvertTileToWarp
