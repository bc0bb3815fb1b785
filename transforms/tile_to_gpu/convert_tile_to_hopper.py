"""stepwell-convert-tile-to-hopper: kernels of roles become warp-specialised, persistent kernels, one function per op (meaning: rounds, the operands to tf32).

Before:                                                          After:
  tile.kernel @fc(%x, %w, %b) -> (%y) config #tile.config<         warp.kernel @fc(%map_a: !hopper.tensor_map<..>, %map_b, %p2, %p3, %m: i32, ..)
      block = [128, 64], k = 64, stages = 4, warps = 12, ..> {          threads 384 shared 98368 {
    %ab = tile.ring slots 4 (..) at 0 barriers 98304                 hopper.elect { hopper.mbarrier_init .. } warp.barrier 0 threads 384
    tile.role "load" warpgroups 1 {                                  hopper.role "load" warpgroups 1 from 0 { hopper.elect {
      tile.for_tiles (%i, %j) of %y block [128, 64] {                  scf.for %tile = .. {
        tile.for (%t, %k) of %x dims [1, 2] step [1, 64] {               scf.for %step = .. {
          tile.fetch %w[%j, %t, %k] dims = [0, 2] to %ab#1 via tma         hopper.wait empty; hopper.tma_load %map_b
          tile.fetch %x[%i, %t, %k] dims = [0, 2] to %ab#0 via tma         hopper.expect_bytes full; hopper.tma_load %map_a
    } } }                                                              } } } }
    tile.role "multiply" warpgroups 2 {                         ->   hopper.role "multiply" warpgroups 2 from 1 {
      tile.for_tiles (%i, %j) of %y block [128, 64] {                  scf.for %tile = .. {
        %acc = tile.for .. {                                             scf.for %step = .. {
          %a, %bt = tile.await %ab                                         hopper.wait full
          %d = tile.mma %a, %bt, %c async                                  hopper.wgmma
          tile.release %ab behind 1                                        hopper.wgmma_wait pending 1; hopper.arrive empty
        }                                                                }
        %p = tile.finish %acc                                            hopper.wgmma_wait pending 0
        %o = tile.map (%1 = %p, ..) { .. }                               arith on vector<32xf32>
        tile.store %o, %y[%i, %j] access 2                               warp.fragment_store
    } }                                                                } }
  plan.launch @fc(%x, %w, %b) outs(%y)                              %m = plan.extent %y[0]; %steps = plan.ceil_div %channels, 64; ..
                                                                    plan.launch @fc(%map_a, %map_b, %b, %y, %m, %steps, ..) grid %blocks block .. shared .. pdl true

How many blocks walk over the tiles (as many as the multiprocessors hold), in which order of the config, and that the next kernel may start early is said here; all else is decided: `hopper_roles.TABLE` has a function for each op. Slot numbers, parities, prologues, drains, wait counts and proxy fences follow from the
ring ops. Extents, window geometry and magic numbers are arguments, so one kernel serves every shape; each launch says as plan arithmetic where they come from.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp

from stepwell.dialects import tile
from stepwell.passes import Meaning, PassFailure, StepwellPass, names_of, remarks_of
from stepwell.passes.remarks import Remark
from stepwell.transforms.tile_to_gpu.hopper_roles import lower_kernel
from stepwell.transforms.tile_to_gpu.launch import finish_level, replace_kernel

NAME = "stepwell-convert-tile-to-hopper"


@dataclass(frozen=True)
class ConvertTileToHopper(StepwellPass):
    """Lower every `tile.kernel` of roles, and its launches. Kernels without products stay for `stepwell-convert-tile-to-warp`. Refused: a product without
    roles, a ring without a place, an op or tile that has no form on sm_90a."""

    name = NAME
    level: ClassVar[str] = "plan"
    also: ClassVar[tuple[str, ...]] = ("kernel",)
    meaning: ClassVar[Meaning] = "rounds"
    rtol: ClassVar[float] = (
        4e-3  # tensor cores cut f32 operands to 11 significant bits: 2 * 2**-10 for a product, through several layers
    )

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        kernels = [kernel for kernel in op.ops if isinstance(kernel, tile.KernelOp)]
        for kernel in kernels:
            _check_roles(kernel)
        lowered = [(kernel, lower_kernel(kernel)) for kernel in kernels if kernel.roles]
        for kernel, made in lowered:
            replace_kernel(op, kernel, made)
            shared, threads = made.kernel.shared.value.data, made.kernel.threads.value.data
            message = f"{threads} threads, {shared} bytes of shared memory, {len(made.parameters)} parameters"
            remarks_of(ctx).add(Remark("analysis", NAME, names_of(made.kernel), message))
        finish_level(op)


def _check_roles(kernel: tile.KernelOp) -> None:
    if kernel.config.data.uses_wgmma and not kernel.roles:
        names = " + ".join(names_of(kernel))
        reason = "its product has no roles: who loads and who multiplies is decided by passes on tiles"
        hint = "run tile-assign-copies, tile-assign-layouts, tile-pipeline-loops, tile-split-roles, tile-place-loads and tile-allocate-shared before"
        raise PassFailure(reason, where=f"@{kernel.sym_name.data}" + (f" ({names})" if names else ""), hint=hint)


PASS = ConvertTileToHopper
