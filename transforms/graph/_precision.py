"""Which element type every value of a module of fusions is needed in when fusions compute in half precision."""

from __future__ import annotations

from xdsl.dialects.builtin import f32
from xdsl.ir import Attribute, Block, Operation, SSAValue

from stepwell.dialects import graph
from stepwell.transforms.tensors import element_of

Contraction = graph.ConvOp | graph.MatmulOp
MOVES = graph.BroadcastOp | graph.ReshapeOp | graph.TransposeOp


def source_of(value: SSAValue) -> SSAValue:
    """The value behind views."""
    while isinstance(value.owner, graph.ReshapeOp):
        value = value.owner.operand
    return value


def behind(value: SSAValue) -> SSAValue:
    """What a body's value shows through movement: the argument that a root reads, where the root may read it."""
    while isinstance(value.owner, MOVES):
        value = value.owner.operand
    return value


def operand_types(fusion: graph.FusionOp, half: Attribute) -> dict[SSAValue, Attribute]:
    """The element type that each body argument of a half-precision fusion gets. Nothing may be cast between an argument and a root that
    reads it (no kernel maps operands): contractions get both factors in `half` or both as they were, average pools, which add in f32, theirs
    as it was."""
    types: dict[SSAValue, Attribute] = {}
    pairs = list(zip(fusion.body.block.args, fusion.inputs, strict=True))
    for argument, operand in pairs:
        computed = isinstance(source_of(operand).owner, graph.FusionOp)
        types[argument] = half if computed and element_of(operand) == f32 else element_of(operand)
    weights = {a for a, v in pairs if isinstance(source_of(v).owner, graph.WeightOp)}
    for op in fusion.body.block.ops:
        if isinstance(op, Contraction) and element_of(op.operands[0]) == f32:
            factor, weight = map(behind, op.operands)
            if weight in weights and types.get(factor, half) == half:
                types[weight] = half
    for op in fusion.body.block.ops:
        if (
            isinstance(op, Contraction)
            and not is_half(op, types, half)
            or isinstance(op, graph.PoolOp)
            and op.kind == "average"
        ):
            types.update({behind(operand): element_of(operand) for operand in op.operands if behind(operand) in types})
    return types


def is_half(op: Contraction, types: dict[SSAValue, Attribute], half: Attribute) -> bool:
    """True when both operands are arguments of type `half`, or computed in the body and thus free to be cast."""
    return all(types.get(behind(operand), half) == half for operand in op.operands)


def wanted_types(body: Block, kept: dict[Operation, bool], half: Attribute) -> dict[SSAValue, list[Attribute]]:
    """The element types that the users of each value need, without repeats; found from the end to the beginning."""
    wanted: dict[SSAValue, list[Attribute]] = {}

    def want(value: SSAValue, element: Attribute) -> None:
        listed = wanted.setdefault(value, [])
        if element not in listed:
            listed.append(element)

    for op in reversed(list(body.ops)):
        match op:
            case graph.ReshapeOp():
                for element in wanted.get(op.result, [element_of(op.result)]):
                    want(op.operand, element)
            case graph.FusionOp() if not kept[op]:
                types = operand_types(op, half)
                for argument, operand in zip(op.body.block.args, op.inputs, strict=True):
                    want(operand, types[argument])
            case _:
                for operand in op.operands:
                    want(operand, element_of(operand))
    return wanted
