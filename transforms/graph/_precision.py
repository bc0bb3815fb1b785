"""Which element type every value of a module of fusions is needed in when fusions compute in half precision."""

from __future__ import annotations

from math import prod

from xdsl.dialects.builtin import f16, f32
from xdsl.ir import Attribute, Block, BlockArgument, Operation, SSAValue

from stepwell.dialects import graph
from stepwell.dialects.tile.kernel_rules import target_name_of
from stepwell.transforms.graph._values import shape_of
from stepwell.transforms.graph_to_loops.table import ops_of_loops
from stepwell.transforms.tensors import element_of

TENSOR_CORES, HALF_BYTES, ROW_BYTES = "sm_90a", 2, 16
"""The target whose products pack what they convert; bytes of an element of half precision, and what rows that tensor maps bring are multiples of."""
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
    reads it (no kernel maps operands), and plain loops give what they compute: contractions get both factors in `half` or both as they were."""
    types: dict[SSAValue, Attribute] = {}
    pairs = list(zip(fusion.body.block.args, fusion.inputs, strict=True))
    for argument, operand in pairs:
        maker = source_of(operand).owner
        computed = isinstance(maker, graph.FusionOp) and not ops_of_loops(maker)
        types[argument] = half if computed and element_of(operand) == f32 else element_of(operand)
    weights = {a for a, v in pairs if isinstance(source_of(v).owner, graph.WeightOp)}
    for op in fusion.body.block.ops:
        if isinstance(op, Contraction) and element_of(op.operands[0]) == f32:
            factor, weight = map(behind, op.operands)
            if weight in weights and (types.get(factor, half) == half or packs(op, half)):
                types[weight] = half
    for op in fusion.body.block.ops:
        if isinstance(op, Contraction) and not (is_half(op, types, half) or packs(op, half)):
            types.update({behind(operand): element_of(operand) for operand in op.operands if behind(operand) in types})
    return types


def is_half(op: Contraction, types: dict[SSAValue, Attribute], half: Attribute) -> bool:
    """True when both operands are arguments of type `half`, or computed in the body and thus free to be cast."""
    return all(types.get(behind(operand), half) == half for operand in op.operands)


def packs(op: Contraction, half: Attribute) -> bool:
    """Whether a product's kernel converts its left factor itself: rows of an input of the network by a weight, on the tensor cores of sm_90a."""
    fusion = op.parent_op()
    if not isinstance(op, graph.MatmulOp) or not isinstance(fusion, graph.FusionOp) or half != f16:
        return False
    factor, weight = op.a, behind(op.b)
    if not isinstance(factor, BlockArgument) or not isinstance(weight, BlockArgument) or element_of(factor) != f32:
        return False
    sources = [source_of(fusion.inputs[argument.index]) for argument in (factor, weight)]
    rows, channels = prod(shape_of(op.a)[:-1]), shape_of(op.a)[-1]
    known = isinstance(rows, int) and isinstance(channels, int) and rows > 0 and channels > 0
    given = isinstance(sources[0], BlockArgument) and isinstance(sources[1].owner, graph.WeightOp)
    single = len(shape_of(op.b)) == 2 and shape_of(op.b) == shape_of(weight)
    aligned = known and channels * HALF_BYTES % ROW_BYTES == 0
    return given and single and aligned and target_name_of(op) == TENSOR_CORES


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
