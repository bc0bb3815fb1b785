"""What a kernel's operands are on the host: windows, reshaped tensors and repacked weights, with the refs that stand
for them in the kernel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from xdsl.builder import Builder
from xdsl.dialects.builtin import TensorType
from xdsl.ir import Operation, SSAValue

from stepwell.dialects import graph, tile
from stepwell.transforms.linalg._accesses import element, element_in_memory, host_operand, is_plain
from stepwell.transforms.linalg._kinds import Access
from stepwell.transforms.linalg._rows import Rows
from stepwell.transforms.linalg._structure import Structure, cut, refuse
from stepwell.transforms.linalg._windows import Loops


@dataclass(frozen=True)
class Operand:
    """One input of a kernel. `groups`: what each dim of the ref runs along; `shape`: extents of the host tensor (none
    for a window); `steps`: how a weight is repacked; `fill`: what a load reads outside; `hint`: its name in the
    kernel."""

    access: Access
    ref: tile.RefType
    groups: tuple[Loops, ...]
    shape: tuple[int, ...]
    steps: tuple[graph.StepAttr, ...] = ()
    fill: float = 0.0
    hint: str = ""


def weight_behind(structure: Structure | Rows, access: Access) -> graph.WeightAttr | None:
    """The weight reference behind an operand, with the host's reshapes in its recipe; None when it is computed."""
    value = host_operand(structure, access)
    shapes = []
    while isinstance(value.owner, graph.ReshapeOp):
        assert isinstance(value.type, TensorType)
        shapes.append(value.type.get_shape())
        value = value.owner.operand
    if not isinstance(value.owner, graph.WeightOp):
        return None
    return value.owner.ref.then(*(graph.StepAttr("reshape", shape) for shape in reversed(shapes)))


def operands_of(structure: Structure, config: tile.Config, groups: Sequence[Loops]) -> tuple[Operand, ...]:
    """The kernel's inputs: the root's operands, then the epilogue's."""
    all_groups = (*groups, *structure.reduction_groups())
    if config.mma != "none":
        x, w = structure.operands
        first = [_left_factor(structure, x), _right_factor(structure, w, config)]
    else:
        first = [
            _plain(structure, access, all_groups, "xwz"[min(position, 2)], stream=position > 0)
            for position, access in enumerate(structure.operands)
        ]
    last = [_plain(structure, access, all_groups, f"e{position}") for position, access in enumerate(structure.leaves)]
    return (*first, *last)


def _left_factor(structure: Structure, access: Access) -> Operand:
    """x [M, T, K]: a window, or a dense matrix with one tap; of a batched product x [B, M, K]; what is converted on the way x [M, K]."""
    roles = structure.roles
    assert roles is not None
    if roles.batch:
        return _of_batches(structure, access, roles.m, "x")
    groups = (roles.m, roles.window, roles.k)
    if not is_plain(structure):
        return _windowed(structure, access, groups, "x")
    if access.converted is not None:
        rows, k = structure.extent(roles.m), structure.extent(roles.k)
        return Operand(access, tile.RefType(2, element_in_memory(access)), (roles.m, roles.k), (rows, k), hint="x")
    shape = (structure.extent(roles.m), 1, structure.extent(roles.k))
    if [loop for loop in access.loops if loop not in roles.window] != [*roles.m, *roles.k]:
        raise refuse(structure.fusion, "the left factor is not [rows, k] in memory: transpose it before")
    return Operand(access, tile.RefType(3, element(access)), groups, shape, hint="x")


def _right_factor(structure: Structure, access: Access, config: tile.Config) -> Operand:
    """w [N, T, K], K contiguous, or for the CPU in panels; N padded to whole wgmma columns or panels; of a batched product w [B, N, K]."""
    roles = structure.roles
    assert roles is not None
    if roles.batch:
        return _of_batches(structure, access, roles.n, "w")
    groups = (roles.n, roles.window, roles.k)
    n, taps, k = (structure.extent(group) for group in groups)
    panel = 0 if config.uses_wgmma else config.block[-1]
    weight = weight_behind(structure, access)
    constant = weight is not None
    ref = tile.RefType(3, element(access), tile.Access("packed", panel, constant))
    if weight is None:
        return Operand(access, ref, groups, (n, taps, k), hint="w")
    multiple = panel or 8
    padded = -(-n // multiple) * multiple
    wanted = [loop for group in groups for loop in group]
    steps = [
        graph.StepAttr("reshape", access.shape),
        graph.StepAttr("transpose", [access.loops.index(loop) for loop in wanted]),
        graph.StepAttr("reshape", [n, taps, k]),
        graph.StepAttr("pad", [0, padded]),
    ]
    if panel:
        steps.append(graph.StepAttr("panels", [panel]))
    return Operand(access, ref, groups, (), tuple(steps), hint="w")


def _of_batches(structure: Structure, access: Access, rows: Loops, hint: str) -> Operand:
    """A factor [B, rows, K] of a batched product; a weight is brought into that order."""
    roles = structure.roles
    assert roles is not None
    groups = (roles.batch, rows, roles.k)
    shape = tuple(structure.extent(group) for group in groups)
    wanted = tuple(loop for group in groups for loop in group)
    constant = weight_behind(structure, access) is not None
    ref = tile.RefType(3, element(access), tile.Access("plain", 0, constant))
    if not constant:
        if access.loops != wanted:
            raise refuse(
                structure.fusion, f"the factor {hint} is not [batches, rows, k] in memory: transpose it before"
            )
        return Operand(access, ref, groups, shape, hint=hint)
    steps = [
        graph.StepAttr("reshape", access.shape),
        graph.StepAttr("transpose", [access.loops.index(loop) for loop in wanted]),
        graph.StepAttr("reshape", shape),
    ]
    return Operand(access, ref, groups, (), tuple(steps), hint=hint)


def _windowed(structure: Structure, access: Access, groups: tuple[Loops, ...], hint: str) -> Operand:
    if tuple(loop for group in groups for loop in group) != access.loops:
        raise refuse(structure.fusion, "an operand takes the pixels of a window apart: it cannot join this kernel")
    assert access.window is not None
    fill = float(access.window.fill.value.data) if access.window.fill is not None else 0.0
    ref = tile.RefType(3, element(access), tile.Access("window"))
    return Operand(access, ref, groups, (), fill=fill, hint=hint)


def _plain(
    structure: Structure, access: Access, groups: Sequence[Loops], hint: str, *, stream: bool = False
) -> Operand:
    """A dense tensor with one dim per group. A weight that is streamed through a reduction gets the result's dims last,
    so that vectors run along them."""
    found = cut(access.loops, groups)
    if found is None:
        raise refuse(structure.fusion, "an operand takes the pixels of a window apart: it cannot join this kernel")
    if access.window is not None:
        if len(found) != 3:
            raise refuse(
                structure.fusion, f"a window in {len(found)} groups of loops: pixels, taps and channels are wanted"
            )
        return _windowed(structure, access, found, hint)
    weight = weight_behind(structure, access)
    steps = [graph.StepAttr("reshape", access.shape)]
    if weight is not None and stream:
        found = tuple(sorted(found, key=lambda group: group[0] not in structure.reductions))
        steps.append(graph.StepAttr("transpose", [access.loops.index(loop) for group in found for loop in group]))
    shape = tuple(structure.extent(group) for group in found) or (1,)
    if weight is not None:
        steps.append(graph.StepAttr("reshape", shape))
    ref = tile.RefType(len(shape), element(access), tile.Access("plain", 0, weight is not None))
    return Operand(access, ref, found or ((),), shape, tuple(steps), hint=hint)


def host_value(structure: Structure | Rows, operand: Operand, build: Builder) -> SSAValue:
    """The host value that is bound to the operand's ref, made by views and weight recipes."""
    weight = weight_behind(structure, operand.access)
    if weight is not None and operand.steps:
        return _insert(build, graph.WeightOp(weight.then(*operand.steps)))
    value = host_operand(structure, operand.access)
    window = operand.access.window
    if operand.ref.access.kind == "window" and window is not None:
        slides = window.slides
        return _insert(
            build,
            tile.WindowOp(
                reshaped(value, operand.access.shape, build),
                kernel=[structure.extents[slide.tap] for slide in slides],
                strides=[slide.stride for slide in slides],
                pads=window.pads,
                dilations=[slide.dilation for slide in slides],
                fill=operand.fill,
            ),
        )
    return reshaped(value, operand.shape, build)


def reshaped(value: SSAValue, shape: Sequence[int], build: Builder) -> SSAValue:
    """A view of `value` with another shape; itself where it has that shape."""
    assert isinstance(value.type, TensorType)
    return value if value.type.get_shape() == tuple(shape) else _insert(build, graph.ReshapeOp(value, shape))


def _insert(build: Builder, op: Operation) -> SSAValue:
    return build.insert(op).results[0]
