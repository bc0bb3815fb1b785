"""Which element type every value of a module of fusions is needed in when fusions compute in half precision."""

from __future__ import annotations

from xdsl.dialects.builtin import f16, f32
from xdsl.ir import Attribute, Block, Operation, SSAValue

from stepwell.dialects import graph
from stepwell.transforms.graph._values import element_of

Contraction = graph.ConvOp | graph.MatmulOp


def source_of(value: SSAValue) -> SSAValue:
    """The value behind views."""
    while isinstance(value.owner, graph.ReshapeOp):
        value = value.owner.operand
    return value


def operand_types(fusion: graph.FusionOp) -> dict[SSAValue, Attribute]:
    """The element type that each body argument of a half-precision fusion gets."""
    types: dict[SSAValue, Attribute] = {}
    pairs = list(zip(fusion.body.block.args, fusion.inputs, strict=True))
    for argument, operand in pairs:
        computed = isinstance(source_of(operand).owner, graph.FusionOp)
        types[argument] = f16 if computed and element_of(operand) == f32 else element_of(operand)
    for op in fusion.body.block.ops:
        if not isinstance(op, Contraction) or element_of(op.operands[0]) != f32:
            continue
        weight = op.operands[1]
        constant = any(a is weight and isinstance(source_of(v).owner, graph.WeightOp) for a, v in pairs)
        if constant and types.get(op.operands[0], f16) == f16:
            types[weight] = f16
    return types


def is_half(op: Contraction, types: dict[SSAValue, Attribute]) -> bool:
    """True when both operands are f16 arguments, or computed in the body and thus free to be cast."""
    return all(types.get(operand, f16) == f16 for operand in op.operands)


def wanted_types(body: Block, kept: dict[Operation, bool]) -> dict[SSAValue, list[Attribute]]:
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
                types = operand_types(op)
                for argument, operand in zip(op.body.block.args, op.inputs, strict=True):
                    want(operand, types[argument])
            case _:
                for operand in op.operands:
                    want(operand, element_of(operand))
    return wanted
