"""From tile launches to the explicit ABI: what each kernel parameter is on the host, and the rewriting of `plan.launch`.

A kernel lowering lists `Parameter`s: a type for the kernel and a function that gives the launch operand or the number for one launch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod

from xdsl.dialects import arith
from xdsl.dialects.builtin import IntegerAttr, ModuleOp, StringAttr, i32
from xdsl.ir import Attribute, Block, Operation, SSAValue

from stepwell.dialects import plan, tile, warp
from stepwell.passes import PassFailure, inherit_location, names_of
from stepwell.types.layouts import magic_number
from stepwell.types.targets import SM_90A

MULTIPROCESSORS = SM_90A.multiprocessors
"""Of an H100 SXM. Kernels are persistent, so another number costs speed only."""
INDEX_LIMIT = 2**31
"""Kernels index with i32 and divide numbers below this."""


@dataclass(frozen=True)
class LaunchSite:
    """One launch of a tile kernel: its operands in the order of the kernel's refs (inputs, then outputs)."""

    op: plan.LaunchOp
    kernel: tile.KernelOp | tile.LoopsOp

    @property
    def operands(self) -> tuple[SSAValue, ...]:
        """Inputs and outputs."""
        return (*self.op.args, *self.op.outs)

    def refuse(self, message: str, hint: str = "") -> PassFailure:
        """A refusal that names kernel and source nodes."""
        where = f"@{self.kernel.sym_name.data} ({' + '.join(names_of(self.op)) or 'plan.launch'})"
        return PassFailure(message, where=where, hint=hint)

    def shape(self, position: int) -> tuple[int, ...]:
        """Extents of an operand (of a window: pixels, taps, channels)."""
        kind = self.operands[position].type
        assert isinstance(kind, plan.BufferType | plan.WindowType)
        return kind.get_shape()

    def pitch(self, position: int) -> int:
        """Elements between rows of a matrix operand."""
        kind = self.operands[position].type
        if not isinstance(kind, plan.BufferType) or (kind.get_num_dims() and kind.get_strides()[-1] != 1):
            raise self.refuse(f"operand {position} is {kind}: its rows must be contiguous")
        return kind.get_strides()[-2] if kind.get_num_dims() > 1 else kind.get_shape()[-1]

    def window(self, position: int) -> plan.WindowOp:
        """The window op behind an operand."""
        owner = self.operands[position].owner
        if not isinstance(owner, plan.WindowOp):
            raise self.refuse(f"operand {position} must come from plan.window, here from {owner}")
        return owner

    def geometry(self, position: int) -> plan.Geometry:
        """How the window behind an operand slides."""
        return self.window(position).geometry()

    def window_shapes(self, position: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Input extents [N, H, W, C] and output extents [OH, OW] of a two-dimensional window."""
        op = self.window(position)
        source = op.source.type
        assert isinstance(source, plan.BufferType)
        if source.get_num_dims() != 4:
            raise self.refuse(f"a window over {source}: kernels take two spatial dims", "reshape to [N, H, W, C]")
        return source.get_shape(), plan.window_output(source.get_shape(), *op.geometry())


Host = Callable[[LaunchSite], SSAValue | Operation | int]


@dataclass(frozen=True)
class Parameter:
    """One kernel parameter: what the kernel sees, what a launch passes (an op is inserted before it, an int becomes a constant), and
    whether memory is read (r) or written (w) through it."""

    name: str
    type: Attribute
    host: Host
    effect: str = ""


def number(name: str, host: Callable[[LaunchSite], int]) -> Parameter:
    """An i32 known to the host."""
    return Parameter(name, i32, host)


def pointer(name: str, position: int, element: Attribute, effect: str) -> Parameter:
    """Operand `position` as a global pointer."""
    return Parameter(name, warp.GlobalType(element), lambda site: site.operands[position], effect)


def divisor(name: str, host: Callable[[LaunchSite], int]) -> list[Parameter]:
    """A number and its magic pair: `name`, `name_mul`, `name_shift`."""

    def unsigned(site: LaunchSite) -> int:
        mul = magic_number(host(site))[0]
        return mul - 2**32 if mul >= 2**31 else mul

    return [
        number(name, host),
        number(f"{name}_mul", unsigned),
        number(f"{name}_shift", lambda site: magic_number(host(site))[1]),
    ]


@dataclass
class GpuKernel:
    """The outcome of one kernel lowering: parameters, the kernel op, and how it is launched."""

    kernel: warp.KernelOp
    parameters: Sequence[Parameter]
    grid: Callable[[LaunchSite], int]


def launches_of(module: ModuleOp, kernel: tile.KernelOp | tile.LoopsOp) -> list[LaunchSite]:
    """All launches of `kernel` in the module's programs."""
    name = kernel.sym_name.data
    ops = [op for p in module.ops if isinstance(p, plan.ProgramOp) for op in p.block.ops]
    return [LaunchSite(op, kernel) for op in ops if isinstance(op, plan.LaunchOp) and op.kernel_name == name]


def replace_kernel(module: ModuleOp, old: tile.KernelOp | tile.LoopsOp, new: GpuKernel) -> None:
    """Put the new kernel in the old one's place and rewrite its launches."""
    for site in launches_of(module, old):
        _rewrite_launch(site, new)
    inherit_location(new.kernel, old)
    block = old.parent_block()
    assert block is not None
    block.insert_op_before(new.kernel, old)
    old.detach()
    old.erase()


def _rewrite_launch(site: LaunchSite, new: GpuKernel) -> None:
    program = site.op.parent_block()
    assert program is not None
    for position in range(len(site.operands)):
        if prod(site.shape(position)[-2:]) >= INDEX_LIMIT or prod(site.shape(position)) >= INDEX_LIMIT:
            raise site.refuse(f"operand {position} has 2**31 elements or more: kernels index with 32 bits")
    args = [_argument(program, site, parameter) for parameter in new.parameters]
    effects = [parameter.effect for parameter in new.parameters]
    launch = plan.LaunchOp(
        site.op.kernel,
        args,
        grid=(new.grid(site), 1, 1),
        block=(new.kernel.threads.value.data, 1, 1),
        shared=new.kernel.shared.value.data,
        pdl=True,
        reads=[index for index, effect in enumerate(effects) if effect == "r"],
        writes=[index for index, effect in enumerate(effects) if effect == "w"],
    )
    launch.location = site.op.location
    program.insert_op_before(launch, site.op)
    site.op.detach()
    site.op.erase()


def _argument(program: Block, site: LaunchSite, parameter: Parameter) -> SSAValue:
    held = parameter.host(site)
    if isinstance(held, Operation):
        held.location = site.op.location
        program.insert_op_before(held, site.op)
        return held.results[0]
    return held if isinstance(held, SSAValue) else _constant(program, held, site.op)


def _constant(program: Block, value: int, before: plan.LaunchOp) -> SSAValue:
    """An i32 at the program's start; one op per number."""
    attribute = IntegerAttr(value, i32)
    for op in program.ops:
        if isinstance(op, arith.ConstantOp) and op.value == attribute:
            return op.result
    constant = arith.ConstantOp(attribute)
    constant.result.name_hint = f"c{value}" if value >= 0 else f"cm{-value}"
    constant.location = before.location
    assert program.first_op is not None
    program.insert_op_before(constant, program.first_op)
    return constant.result


def remove_dead_windows(module: ModuleOp) -> None:
    """Erase windows that no launch needs any more."""
    for program in [op for op in module.ops if isinstance(op, plan.ProgramOp)]:
        for op in list(program.block.ops):
            if isinstance(op, plan.WindowOp) and not op.window.uses:
                op.detach()
                op.erase()


def finish_level(module: ModuleOp) -> None:
    """Mark the module as kernel level when no tile kernel is left."""
    if not any(isinstance(op, tile.KernelOp | tile.LoopsOp) for op in module.ops):
        remove_dead_windows(module)
        module.attributes["stepwell.level"] = StringAttr("kernel")
