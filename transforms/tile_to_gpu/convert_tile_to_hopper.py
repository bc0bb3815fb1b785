"""stepwell-convert-tile-to-hopper: contraction kernels (mma = wgmma) become warp-specialised, persistent kernels (meaning: rounds, the operands to tf32).

Before:                                                          After:
  tile.kernel @fc(%x, %w, %b) -> (%y) config #tile.config<         warp.kernel @fc(%map_a: !hopper.tensor_map<..>, %map_b, %p2, %p3, %m: i32, ..)
      block = [128, 64], k = 64, stages = 4, warps = 12, ..> {          threads 384 shared 98368 {
    tile.wait_predecessor                                            hopper.role "producer" warpgroups 1 from 0 { hopper.elect {
    tile.for_tiles (%i, %j) of %y block [128, 64] {                    scf.for %tile = .. { scf.for %step = .. {
      %acc = tile.for (%t, %k) of %x .. { load, load, mma }   ->         hopper.wait empty; hopper.tma_load B; hopper.tma_load A } } } }
      %o = tile.map (%acc, %bias) { .. }                             hopper.role "consumer" warpgroups 2 from 1 {
      tile.store %o, %y[%i, %j]                                        scf.for %tile = .. { scf.for %step = .. { hopper.wait full; hopper.wgmma }
    } }                                                                  warp.fragment_load_row; arith on vector<32xf32>; warp.fragment_store } }
  plan.launch @fc(%x, %w, %b) outs(%y)                              plan.launch @fc(%map, %map, %b, %y, %c128, ..) grid .. block .. shared .. pdl true

Operands come by TMA (tiled, or im2col for windows) into a ring of 128-byte swizzled stages; one product stays in flight while its predecessor's slot
is released. Extents, window geometry and magic numbers are arguments, so one kernel serves every shape.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import ClassVar

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp

from stepwell.dialects import tile, warp
from stepwell.passes import Meaning, StepwellPass, names_of, remarks_of
from stepwell.passes.remarks import Remark
from stepwell.transforms.tile_to_gpu import hopper_roles
from stepwell.transforms.tile_to_gpu._tile_to_hopper_abi import grid_of, parameters_of, tiles_of
from stepwell.transforms.tile_to_gpu._tile_to_hopper_epilogue import FragmentEpilogue, operand_registers
from stepwell.transforms.tile_to_gpu._tile_to_hopper_match import Contraction, match_contraction
from stepwell.transforms.tile_to_gpu._tile_to_hopper_roles import Roles
from stepwell.transforms.tile_to_gpu.emitter import Emitter, is_long
from stepwell.transforms.tile_to_gpu.launch import (
    MULTIPROCESSORS,
    GpuKernel,
    LaunchSite,
    finish_level,
    launches_of,
    replace_kernel,
)

NAME = "stepwell-convert-tile-to-hopper"
PRODUCER_REGISTERS = 40
LARGE_COLUMNS = 96
"""From this many columns on the accumulators need more registers than an even split gives: roles get budgets."""
MAX_REGISTERS = 255
FEW_REGISTERS = 5
"""What a short epilogue takes beside accumulators and operands, where the loop's state is dead (128x64 with an f32 residual: 80 of 85 registers)."""
OTHER_REGISTERS = 56
"""For addresses, loop state and the temporaries of an epilogue."""
SHARED_PER_MULTIPROCESSOR = 228 * 1024
RESERVED_SHARED = 1024
"""What the system takes of a block's shared memory (CUDA C++ Programming Guide, compute capability 9.0)."""


def register_budgets(c: Contraction) -> tuple[int, int] | None:
    """Registers per thread of the producer and of consumers; None when an even split does."""
    if c.columns < LARGE_COLUMNS or 32 * c.config.warps * MAX_REGISTERS <= warp.REGISTER_FILE:
        return None
    consumers = 128 * c.config.consumers
    left = (warp.REGISTER_FILE - 128 * PRODUCER_REGISTERS) // consumers
    return PRODUCER_REGISTERS, min(240, left // 8 * 8)


def resident_blocks(c: Contraction, shared: int, sites: list[LaunchSite]) -> int:
    """Blocks per multiprocessor: two where there is work for them and they fit with few registers per thread, to overlap one's epilogue
    with the other's loads."""
    if sites and all(prod(tiles_of(c, site)) <= MULTIPROCESSORS for site in sites):
        return 1
    long_epilogue = any(isinstance(op, tile.MapOp) and is_long(op) for op in c.epilogue)
    half = warp.REGISTER_FILE // (2 * 32 * c.config.warps)
    if register_budgets(c) or long_epilogue or c.columns // 2 + operand_registers(c) > half - FEW_REGISTERS:
        return 1
    return min(2, max(1, SHARED_PER_MULTIPROCESSOR // (shared + RESERVED_SHARED)))


def loads_early(c: Contraction, blocks: int) -> bool:
    """Whether bias and residual are loaded before the product: when no other block hides their latency, and registers are left."""
    budgets = register_budgets(c)
    most = budgets[1] if budgets else min(MAX_REGISTERS, warp.REGISTER_FILE // (32 * c.config.warps))
    return blocks == 1 and c.columns // 2 + operand_registers(c) + OTHER_REGISTERS <= most


def lower_kernel(kernel: tile.KernelOp, sites: list[LaunchSite]) -> GpuKernel:
    """The Hopper kernel that does what `kernel` does; refuses with a reason what it cannot."""
    c = match_contraction(kernel)
    parameters = parameters_of(c)
    made = warp.KernelOp(kernel.sym_name.data, [p.type for p in parameters], 32 * c.config.warps)
    entry = made.body.block
    named = {p.name: value for p, value in zip(parameters, entry.args, strict=True)}
    for name, value in named.items():
        value.name_hint = name
    roles = Roles(Emitter(entry, kernel.location), c, named, register_budgets(c))
    roles.prologue()
    roles.producer()
    blocks = resident_blocks(c, roles.shared, sites)
    roles.consumer(FragmentEpilogue(c, sites, early=loads_early(c, blocks)))
    roles.e.insert(warp.ReturnOp())
    sized = warp.KernelOp(
        made.sym_name.data, made.detach_region(made.body), made.threads.value.data, roles.shared, blocks
    )
    return GpuKernel(sized, parameters, lambda site: grid_of(c, site, blocks))


def _lower(kernel: tile.KernelOp, sites: list[LaunchSite]) -> tuple[GpuKernel, str]:
    """The kernel on hopper, and which road it took: what the passes of the tile level have given roles goes op by op, the rest in one leap."""
    if kernel.roles:
        return hopper_roles.lower_kernel(kernel), "op by op"
    return lower_kernel(kernel, sites), "in one leap"


@dataclass(frozen=True)
class ConvertTileToHopper(StepwellPass):
    """Lower every `tile.kernel` whose config says wgmma, and its launches. Others stay for `stepwell-convert-tile-to-warp`."""

    name = NAME
    level: ClassVar[str] = "plan"
    also: ClassVar[tuple[str, ...]] = ("kernel",)
    meaning: ClassVar[Meaning] = "rounds"
    rtol: ClassVar[float] = (
        4e-3  # tensor cores cut f32 operands to 11 significant bits: 2 * 2**-10 for a product, through several layers
    )

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        kernels = [k for k in op.ops if isinstance(k, tile.KernelOp) and k.config.data.uses_wgmma]
        lowered = [(kernel, *_lower(kernel, launches_of(op, kernel))) for kernel in kernels]
        for kernel, made, road in lowered:
            replace_kernel(op, kernel, made)
            shared, threads = made.kernel.shared.value.data, made.kernel.threads.value.data
            message = f"{road}: {threads} threads, {shared} bytes of shared memory, {len(made.parameters)} parameters"
            remarks_of(ctx).add(Remark("analysis", NAME, names_of(made.kernel), message))
        finish_level(op)


PASS = ConvertTileToHopper
