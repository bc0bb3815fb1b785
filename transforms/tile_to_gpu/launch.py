"""From tile launches to the explicit ABI: what each kernel parameter is on the host, and the rewriting of `plan.launch`.

A kernel lowering lists `Parameter`s: a type for the kernel, and where a launch takes the argument from: memory, a tensor map, or arithmetic on extents.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod
from typing import Protocol

from xdsl.dialects.builtin import ModuleOp, StringAttr, i32
from xdsl.ir import Attribute, Block, SSAValue

from stepwell.dialects import plan, tile, warp
from stepwell.passes import PassFailure, inherit_location, names_of
from stepwell.transforms.emit.arguments import Expression, LaunchNumbers, Magic, Stride, window_behind
from stepwell.types.targets import SM_90A

MULTIPROCESSORS = SM_90A.multiprocessors
"""Of an H100 SXM. Kernels are persistent, so another number costs speed only."""
INDEX_LIMIT = 2**31
"""Kernels index with i32 and divide numbers below this."""


@dataclass(frozen=True)
class LaunchSite:
    """One launch of a tile kernel: its operands in the order of the kernel's refs (inputs, then outputs)."""

    op: plan.LaunchOp
    kernel: tile.KernelOp | tile.LoopsKernel

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

    def check_rows(self, position: int) -> None:
        """Refuse an operand whose last dim has gaps."""
        kind = self.operands[position].type
        if not isinstance(kind, plan.BufferType) or (kind.get_num_dims() and kind.get_strides()[-1] != 1):
            raise self.refuse(f"operand {position} is {kind}: its rows must be contiguous")


@dataclass(frozen=True)
class Memory:
    """What an operand points at; of a window its `image`."""

    position: int
    image: bool = False


class Map(Protocol):
    """A tensor map that a launch makes of one of its operands."""

    def made(self, site: LaunchSite) -> plan.TensorMapOp:
        """The op; refuses an operand that it cannot map."""
        ...


@dataclass(frozen=True)
class Parameter:
    """One kernel parameter: what the kernel sees, where a launch takes it from, and whether memory is read (r) or written (w) through it."""

    name: str
    type: Attribute
    source: Expression | Memory | Map
    effect: str = ""


def number(name: str, of: Expression) -> Parameter:
    """An i32 known to the host."""
    return Parameter(name, i32, of)


def pointer(name: str, position: int, element: Attribute, effect: str) -> Parameter:
    """Operand `position` as a global pointer."""
    return Parameter(name, warp.GlobalType(element), Memory(position), effect)


def divisor(name: str, of: Expression) -> list[Parameter]:
    """A number and its magic pair: `name`, `name_mul`, `name_shift`."""
    pair: dict[str, type[plan.MagicOp]] = {"mul": plan.MagicMultiplierOp, "shift": plan.MagicShiftOp}
    return [number(name, of), *(number(f"{name}_{end}", Magic(op, of)) for end, op in pair.items())]


@dataclass
class GpuKernel:
    """The outcome of one kernel lowering: parameters, the kernel op, how many blocks its grid has, and what it asks of a launch beside."""

    kernel: warp.KernelOp
    parameters: Sequence[Parameter]
    grid: Expression
    check: Callable[[LaunchSite], None] = lambda site: None


def launches_of(module: ModuleOp, kernel: tile.KernelOp | tile.LoopsKernel) -> list[LaunchSite]:
    """All launches of `kernel` in the module's programs."""
    name = kernel.sym_name.data
    ops = [op for p in module.ops if isinstance(p, plan.ProgramOp) for op in p.block.ops]
    return [LaunchSite(op, kernel) for op in ops if isinstance(op, plan.LaunchOp) and op.kernel_name == name]


def replace_kernel(module: ModuleOp, old: tile.KernelOp | tile.LoopsKernel, new: GpuKernel) -> None:
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
    for parameter in new.parameters:
        if isinstance(parameter.source, Stride):
            site.check_rows(parameter.source.position)
    new.check(site)
    numbers = LaunchNumbers(site.op, i32, site.refuse)
    args = [_argument(program, site, numbers, parameter) for parameter in new.parameters]
    effects = [parameter.effect for parameter in new.parameters]
    launch = plan.LaunchOp(
        site.op.kernel,
        args,
        grid=numbers.value(new.grid, "blocks"),
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


def _argument(program: Block, site: LaunchSite, numbers: LaunchNumbers, parameter: Parameter) -> SSAValue:
    match parameter.source:
        case Expression() as expression:
            return numbers.value(expression, parameter.name)
        case Memory(position, image):
            operand = site.operands[position]
            return window_behind(operand, site.refuse).source if image else operand
        case made:
            op = made.made(site)
            op.location, op.map.name_hint = site.op.location, parameter.name
            program.insert_op_before(op, site.op)
            return op.map


def remove_dead_windows(module: ModuleOp) -> None:
    """Erase windows that no launch needs any more."""
    for program in [op for op in module.ops if isinstance(op, plan.ProgramOp)]:
        for op in list(program.block.ops):
            if isinstance(op, plan.WindowOp) and not op.window.uses:
                op.detach()
                op.erase()


def finish_level(module: ModuleOp) -> None:
    """Mark the module as kernel level when no tile kernel is left."""
    if not any(isinstance(op, tile.KernelOp | tile.LoopsKernel) for op in module.ops):
        remove_dead_windows(module)
        module.attributes["stepwell.level"] = StringAttr("kernel")
