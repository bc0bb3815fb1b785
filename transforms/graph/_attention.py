"""What graph-fuse-attention looks for: the scores behind a softmax, read from the softmax back to their product."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from xdsl.ir import Operation, SSAValue

from stepwell.dialects import graph
from stepwell.dialects.graph.shapes import compose_permutations
from stepwell.dialects.numpy_types import Array
from stepwell.passes import PassFailure
from stepwell.transforms.graph._values import producer, shape_of, users
from stepwell.transforms.tensors import element_of

HIDDEN = -1e4
"""A mask's number from here down hides a key: what exporters write is -10000, the least float or -inf."""

Read = Callable[[SSAValue], Array]


class NoAttention(Exception):
    """Why two products and a softmax are no attention."""


@dataclass
class Scores:
    """The scores of an attention: their product, the factors around it, and their masks as they stand ([.., S, T] or what repeats to it).

    `factor` multiplies all that is found from here on; `bias` is added to the scores, where `seen` is false they are `hidden`."""

    read: Read
    factor: float = 1.0
    softcap: float = 0.0
    bias: SSAValue | None = None
    seen: SSAValue | None = None
    unseen: SSAValue | None = None
    hidden: float = -np.inf
    passed: list[Operation] = field(default_factory=list)

    def find(self, value: SSAValue) -> graph.MatmulOp:
        """Walk from the softmax's operand to the product; NoAttention with the reason where something else comes between."""
        while not isinstance(value.owner, graph.MatmulOp):
            op = value.owner
            if not isinstance(op, Operation):
                raise NoAttention("the softmax reads no product")
            self._alone(op)
            value = self._through(op)
        self._alone(value.owner)
        return value.owner

    def _alone(self, op: Operation) -> None:
        self.passed.append(op)
        if len(users(op)) != 1 or len(list(op.results[0].uses)) != 1:
            raise NoAttention(f"{op.name} between the products is used by others too: its value is stored")

    def _through(self, op: Operation) -> SSAValue:
        """The operand of an op that the scores come from; what else it does is noted."""
        match op:
            case graph.BinaryOp() if op.kind in ("mul", "div"):
                return self._scaled(op)
            case graph.BinaryOp() if op.kind in ("add", "sub"):
                return self._biased(op)
            case graph.SelectOp():
                return self._selected(op)
            case graph.CastOp() if {element_of(op.operand), element_of(op.result)} <= graph_floats():
                return op.operand
            case graph.UnaryOp() if op.kind == "tanh" and not self.softcap:
                self.softcap, self.factor = self.factor, 1.0
                return op.operand
        raise NoAttention(f"{op.name} stands between the product and the softmax")

    def _scaled(self, op: graph.BinaryOp) -> SSAValue:
        value, number = scaled(op, self.read)
        if number is None:
            raise NoAttention("the scores are multiplied by what is no constant")
        self.factor *= number
        return value

    def _biased(self, op: graph.BinaryOp) -> SSAValue:
        """Scores plus a mask: the product is on one side only."""
        sides = [comes_from_product(operand) for operand in op.operands]
        if sum(sides) != 1 or (op.kind == "sub" and sides[1]):
            raise NoAttention(f"{op.kind} joins two products" if all(sides) else f"{op.kind} reads no product")
        if self.bias is not None:
            raise NoAttention("two masks are added to the scores")
        if op.kind == "sub":
            raise NoAttention("a mask is subtracted from the scores")
        if self.factor != 1.0 or self.softcap:
            raise NoAttention("the scores are scaled behind their mask")
        self.bias = op.operands[sides.index(False)]
        return op.operands[sides.index(True)]

    def _selected(self, op: graph.SelectOp) -> SSAValue:
        """Scores where a condition holds, and what hides a key elsewhere."""
        sides = [comes_from_product(operand) for operand in (op.lhs, op.rhs)]
        other = single_number(op.rhs if sides[0] else op.lhs, self.read)
        if sum(sides) != 1 or other is None or other > HIDDEN:
            raise NoAttention("a select between product and softmax does not hide keys by a constant")
        if self.seen is not None or self.unseen is not None:
            raise NoAttention("two conditions select the scores")
        if self.softcap:
            raise NoAttention("the scores are capped behind their mask")
        self.hidden = other
        if sides[0]:
            self.seen = op.condition
            return op.lhs
        self.unseen = op.condition
        return op.rhs


def graph_floats() -> set[object]:
    """Float types that scores are held in."""
    from xdsl.dialects.builtin import bf16, f16, f32, f64

    return {bf16, f16, f32, f64}


def comes_from_product(value: SSAValue) -> bool:
    """Whether a value is a product of two computed operands behind scales and masks."""
    while isinstance(value.owner, graph.BinaryOp | graph.SelectOp | graph.CastOp | graph.UnaryOp):
        op = value.owner
        found = [
            operand for operand in op.operands if not isinstance(operand.owner, graph.BroadcastOp | graph.WeightOp)
        ]
        inner = [operand for operand in found if comes_from_product(operand)] if len(found) > 1 else found
        if len(inner) != 1:
            return False
        value = inner[0]
    return isinstance(value.owner, graph.MatmulOp)


def single_number(value: SSAValue, read: Read) -> float | None:
    """The number that all elements of a value have where it is one constant; else None."""
    while isinstance(value.owner, graph.BroadcastOp | graph.ReshapeOp | graph.CastOp):
        value = value.owner.operand
    if isinstance(value.owner, graph.ConstantOp):
        array: Array = value.owner.array
    elif isinstance(value.owner, graph.WeightOp):
        try:
            array = read(value)
        except PassFailure:
            return None
    else:
        return None
    flat = np.asarray(array, np.float64).ravel()
    return float(flat[0]) if flat.size and (flat == flat[0]).all() else None


def scaled(op: graph.BinaryOp, read: Read) -> tuple[SSAValue, float | None]:
    """The value that a mul or div scales, and its factor; None where neither side is a constant."""
    right = single_number(op.rhs, read)
    if right is not None and (op.kind == "mul" or right):
        return op.lhs, right if op.kind == "mul" else 1 / right
    left = single_number(op.lhs, read) if op.kind == "mul" else None
    return op.rhs, left


def unscaled(value: SSAValue, read: Read) -> tuple[SSAValue, float, tuple[int, ...]]:
    """What is behind scales and transposes of an operand: the value, the product of the factors, and the permutation that makes the operand of it."""
    order, factor = tuple(range(len(shape_of(value)))), 1.0
    while True:
        op = value.owner
        if isinstance(op, graph.TransposeOp):
            value, order = op.operand, compose_permutations(op.permutation, order)
            continue
        if not isinstance(op, graph.BinaryOp) or op.kind not in ("mul", "div") or len(users(op)) > 1:
            return value, factor, order
        behind, number = scaled(op, read)
        if number is None:
            return value, factor, order
        value, factor = behind, factor * number


def repeated_heads(value: SSAValue) -> SSAValue:
    """The heads behind `value` [B, H, T, D] where each stands for several, one after the other: [B, G, T, D]; else the value."""
    view = producer(value, graph.ReshapeOp)
    repeat = producer(view.operand, graph.BroadcastOp) if view is not None else None
    if repeat is None:
        return value
    batch, heads, *rest = shape_of(value)
    wide, source = shape_of(repeat.result), shape_of(repeat.operand)
    if len(wide) != 5 or wide[0] != batch or list(wide[3:]) != rest or wide[1] * wide[2] != heads:
        return value
    along = dict(zip(repeat.dims, source, strict=True))
    kept = all(along.get(dim, 1) == wide[dim] for dim in (0, 1, 3, 4))
    return repeat.operand if kept and along.get(2, 1) == 1 else value


def offset_of_mask(array: Array, *, condition: bool) -> int | None:
    """The offset of a causal mask [S, T] (query i sees keys up to i + offset): true or 0 where a key is seen; None for other masks."""
    queries, keys = array.shape
    seen = array.astype(bool) if condition else array == 0
    if not condition and not (array[~seen] <= HIDDEN).all():
        return None
    for offset in dict.fromkeys((0, keys - queries)):
        if np.array_equal(seen, np.tri(queries, keys, offset, dtype=bool)) and not seen.all():
            return offset
    return None
