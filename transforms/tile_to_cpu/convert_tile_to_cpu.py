"""stepwell-convert-tile-to-cpu: tile kernels -> functions on vectors, launches -> records of 8-byte slots (meaning: reassociates).

    tile.kernel @conv(%x: !tile.ref<3xf32, window>, %w: !tile.ref<3xf32, packed<64>, constant>, ...) -> (%y: ...)     func.func @conv(%record, %first, %last)
        config #tile.config<block = [6, 64], mma = fma> { ... }                                                       ->     {stepwell.kernel} { scf.for .. }
    plan.launch @conv (%win, %w, ...) outs (%y)    ->   %x_d0 = plan.extent %win[0]; %tiles = plan.ceil_div ..
                                                        plan.launch @conv (%table, %x_d0, %x_d1, %x_d2, %w, ...) tiles %tiles grain 5 reads [..] writes [..]

The reduction runs over taps and channels in order, one fused multiply-add per element. Slots: `emitter`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from xdsl.context import Context
from xdsl.dialects import func
from xdsl.dialects.builtin import Float16Type, ModuleOp, StringAttr, i64
from xdsl.ir import SSAValue

from stepwell.dialects import plan, tile
from stepwell.passes import StepwellPass, inherit_location, names_of, remarks_of
from stepwell.passes.remarks import Remark
from stepwell.passes.target import target_of
from stepwell.transforms.emit.arguments import LaunchNumbers, Stride, loops_tiles, product
from stepwell.transforms.kernel_to_llvm.conversion import error_at
from stepwell.transforms.tile_to_cpu.arguments import extents_of, group_rows, tile_counts
from stepwell.transforms.tile_to_cpu.body import build_function, is_product
from stepwell.transforms.tile_to_cpu.cost import grain_of
from stepwell.transforms.tile_to_cpu.element_loops import build_loops_function
from stepwell.transforms.tile_to_cpu.runs import build_parallel_function
from stepwell.types.targets import Target


class _Launches:
    """Rewrites the launches of one program."""

    def __init__(self, program: plan.ProgramOp) -> None:
        self.program = program

    def rewrite(self, launch: plan.LaunchOp, kernel: tile.KernelOp) -> None:
        """Replace the launch of `kernel` by one with its record."""
        values, refs = [*launch.args, *launch.outs], list(kernel.body.block.args)
        numbers = LaunchNumbers(launch, i64, lambda message: error_at(launch, message))
        args: list[SSAValue] = []
        reads, writes = list[int](), list[int]()
        for ref, value in zip(refs, values, strict=True):
            (reads if ref.index < len(launch.args) else writes).append(len(args))
            assert isinstance(ref.type, tile.RefType)
            if ref.type.access.kind == "window":
                table = plan.PointerTableOp(value, kernel.config.data.block[0])
                inherit_location(table, launch)
                self.program.block.insert_op_before(table, launch)
                value = table.table
            args.append(value)
            name = ref.name_hint or f"p{ref.index}"
            args += [numbers.value(of, f"{name}_d{dim}") for dim, of in enumerate(extents_of(ref))]
            if ref.type.access.kind == "plain":
                _check_rows(launch, value)
                strides = (Stride(ref.index, dim) for dim in range(ref.type.rank - 1))
                args += [numbers.value(of, f"{name}_s{dim}") for dim, of in enumerate(strides)]
        args.append(numbers.value(group_rows(kernel), "group"))
        tiles = numbers.value(product(tile_counts(kernel)), "tiles")
        grain = grain_of(kernel, {ref: _logical_extents(ref, value) for ref, value in zip(refs, values, strict=True)})
        self._replace(launch, plan.LaunchOp(launch.kernel, args, tiles=tiles, grain=grain, reads=reads, writes=writes))

    def rewrite_loops(self, launch: plan.LaunchOp, kernel: tile.LoopsKernel) -> None:
        """Replace the launch of `kernel` by one with its addresses."""
        args, inputs = [*launch.args, *launch.outs], len(launch.args)
        for value in args:
            if not isinstance(value.type, plan.BufferType) or not value.type.contiguous:
                raise error_at(launch, f"{value.type} has strides: loops read and write whole buffers", "copy it first")
        numbers = LaunchNumbers(launch, i64, lambda message: error_at(launch, message))
        tiles = numbers.value(loops_tiles(kernel), "tiles")
        reads, writes = list(range(inputs)), list(range(inputs, len(args)))
        self._replace(launch, plan.LaunchOp(launch.kernel, args, tiles=tiles, reads=reads, writes=writes))

    def _replace(self, launch: plan.LaunchOp, new: plan.LaunchOp) -> None:
        inherit_location(new, launch)
        new.attributes |= launch.attributes
        self.program.block.insert_op_before(new, launch)
        launch.detach()
        launch.erase()


def _logical_extents(ref: SSAValue, value: SSAValue) -> tuple[int, ...]:
    """Extents of the ref's dims: of panels [N/P, T, K, P] they are [N, T, K] with N rounded up."""
    assert isinstance(ref.type, tile.RefType) and isinstance(value.type, plan.BufferType | plan.WindowType)
    shape = value.type.get_shape()
    return (shape[0] * shape[3], shape[1], shape[2]) if ref.type.access.panel else shape


def _check_rows(launch: plan.LaunchOp, value: SSAValue) -> None:
    """Refuse an operand whose last dim has gaps."""
    assert isinstance(value.type, plan.BufferType)
    strides = value.type.get_strides()
    if strides and strides[-1] != 1 and value.type.get_shape()[-1] != 1:
        raise error_at(launch, f"the last dim of {value.type} is not dense", "copy it first")


def _function_of(kernel: tile.KernelOp | tile.LoopsKernel, target: Target) -> func.FuncOp:
    if isinstance(kernel, tile.ParallelOp):
        return build_parallel_function(kernel, target)
    if not isinstance(kernel, tile.KernelOp):
        assert isinstance(kernel, tile.LoopsOp)
        return build_loops_function(kernel, target)
    return build_function(kernel, target)


@dataclass(frozen=True)
class ConvertTileToCPU(StepwellPass):
    """Lower every tile.kernel, tile.loops and tile.parallel to a function over its tiles, and every launch to the record that it takes. Refuses, naming the op, what has no
    form by rows of vectors."""

    name = "stepwell-convert-tile-to-cpu"
    level: ClassVar[str] = "plan"
    meaning = "reassociates"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        target = target_of(op)
        if target is None or target.family != "cpu":
            raise error_at(op, "the module is not for a CPU", 'stepwell.target = "cpu", stepwell.cpu = "x86-64-v4"')
        kernels = {k.sym_name.data: k for k in op.body.block.ops if isinstance(k, tile.KernelOp | tile.LoopsKernel)}
        functions = {name: _function_of(kernel, target) for name, kernel in kernels.items()}
        for program in [p for p in op.body.block.ops if isinstance(p, plan.ProgramOp)]:
            launches = _Launches(program)
            for launch in [s for _, s in program.steps() if isinstance(s, plan.LaunchOp) and s.kernel_name in kernels]:
                kernel = kernels[launch.kernel_name]
                if isinstance(kernel, tile.KernelOp):
                    launches.rewrite(launch, kernel)
                else:
                    launches.rewrite_loops(launch, kernel)
        for name, kernel in kernels.items():
            self._remark(ctx, kernel)
            op.body.block.insert_op_before(functions[name], kernel)
            kernel.detach()
            kernel.erase()
        op.attributes["stepwell.level"] = StringAttr("kernel")

    def _remark(self, ctx: Context, kernel: tile.KernelOp | tile.LoopsKernel) -> None:
        remarks, names, name = remarks_of(ctx), names_of(kernel), f"@{kernel.sym_name.data}"
        if isinstance(kernel, tile.LoopsKernel):
            what = "whole operands" if isinstance(kernel, tile.ParallelOp) else "elements"
            remarks.add(Remark("analysis", self.name, names, f"{name}: loops over {what}"))
            return
        refs = [arg.type for arg in kernel.body.block.args if isinstance(arg.type, tile.RefType)]
        narrow = sum(isinstance(ref.element_type, Float16Type) for ref in refs)
        shape = "x".join(str(extent) for extent in kernel.config.data.block)
        products = any(is_product(op) for op in kernel.body.walk())
        what = f"{shape} register block" if products else f"rows of {kernel.config.data.block[-1]}"
        remarks.add(Remark("analysis", self.name, names, f"{name}: {what}"))
        if narrow:
            message = f"{name}: {narrow} operands are stored as f16 and converted at every load and store"
            hint = "the CPU computes in f32: precision=fp32 is faster"
            remarks.add(Remark("missed", self.name, names, message, hint))


PASS = ConvertTileToCPU
