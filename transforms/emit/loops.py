"""A `tile.loops` element by element, for both targets: every element of a result is computed by the ops that it depends on, from the result
back to the tensors in memory. Whatever shape, stride, rank or element type: an index of a dim is a value, a reshape or a map is arithmetic on
indices, a pad is a condition, a reduction a loop. Extents are constants of the code."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from itertools import accumulate
from typing import Any, Protocol

from xdsl.dialects import arith, tensor
from xdsl.dialects.builtin import DenseIntOrFPElementsAttr, FloatAttr, IndexType, IntegerAttr
from xdsl.dialects.linalg import ops as linalg
from xdsl.ir import Attribute, BlockArgument, Operation, SSAValue
from xdsl.ir.affine import AffineExpr

from stepwell.dialects import tile
from stepwell.dialects.evaluate import literal
from stepwell.dialects.linalg_interpreter import linear_coefficients, loop_extents
from stepwell.dialects.plan import row_major
from stepwell.transforms.kernel_to_llvm.conversion import error_at
from stepwell.transforms.linalg._roles import reduction_loops
from stepwell.transforms.tensors import element_of, shape_of

Indices = tuple[SSAValue, ...]
LoopBody = Callable[[SSAValue, list[SSAValue]], Sequence[SSAValue]]


class ElementEmitter(Protocol):
    """What the walk writes with: integers of one type, which `number` makes of positions of type index, structured loops, and `choose`,
    which does one of two things."""

    def at(self, op: Operation) -> AbstractContextManager[None]: ...
    def insert(self, op: Operation) -> Operation: ...
    def integer(self, value: int) -> SSAValue: ...
    def number(self, position: SSAValue) -> SSAValue: ...
    def constant(self, attr: Attribute, of: Attribute) -> SSAValue: ...
    def binary(self, op: Callable[..., Operation], a: SSAValue, b: SSAValue) -> SSAValue: ...
    def add(self, a: SSAValue, b: SSAValue) -> SSAValue: ...
    def mul(self, a: SSAValue, b: SSAValue) -> SSAValue: ...
    def compare(self, predicate: str, a: SSAValue, b: SSAValue) -> SSAValue: ...
    def select(self, condition: SSAValue, a: SSAValue, b: SSAValue) -> SSAValue: ...
    def loop(self, start: SSAValue, end: SSAValue, inits: Sequence[SSAValue], body: LoopBody) -> list[SSAValue]: ...
    def choose(
        self, condition: SSAValue, then: Callable[[], SSAValue], otherwise: Callable[[], SSAValue]
    ) -> SSAValue: ...


class ElementLoops:
    """Emits the elements of one kernel; `load` reads an input at a row-major number. `scopes` hold the elements that are known, from the
    outermost loop inwards."""

    def __init__(
        self, emit: ElementEmitter, kernel: tile.LoopsOp, load: Callable[[BlockArgument, SSAValue], SSAValue]
    ) -> None:
        self.emit, self.kernel, self.load = emit, kernel, load
        self.scopes: list[dict[tuple[SSAValue, Indices], SSAValue]] = []
        self._rules: Mapping[type[Operation], Callable[[Any, Indices], SSAValue]] = {
            linalg.GenericOp: self._generic,
            linalg.FillOp: lambda op, at: self._scalar(op.inputs[0]),
            tensor.EmptyOp: lambda op, at: self._zero(op.results[0]),
            tensor.PadOp: self._pad,
            tensor.ExtractSliceOp: self._slice,
            tensor.ConcatOp: self._concat,
            arith.ConstantOp: self._listed,
            tensor.ExpandShapeOp: self._reshape,
            tensor.CollapseShapeOp: self._reshape,
        }

    @contextmanager
    def scope(self) -> Iterator[None]:
        """What is computed inside is not known outside."""
        self.scopes.append({})
        yield
        self.scopes.pop()

    def numbered(self, value: SSAValue, number: SSAValue) -> SSAValue:
        """The element of a tensor with this row-major number."""
        return self.element(value, self._unravel(number, shape_of(value)))

    # --- indices

    def _unravel(self, number: SSAValue, shape: Sequence[int]) -> Indices:
        """The indices of the element with this row-major number."""
        found: list[SSAValue] = []
        for dim in reversed(range(len(shape))):
            extent = self.emit.integer(max(1, shape[dim]))
            found.insert(0, self.emit.binary(arith.RemUIOp, number, extent) if dim else number)
            number = self.emit.binary(arith.DivUIOp, number, extent) if dim else number
        return tuple(found)

    def _ravel(self, at: Indices, shape: Sequence[int]) -> SSAValue:
        return self._sum(zip(at, row_major(shape), strict=True), 0)

    def _sum(self, terms: Any, base: int) -> SSAValue:
        """base + the sum of index * factor."""
        total: SSAValue | None = self.emit.integer(base) if base else None
        for index, factor in terms:
            if not factor:
                continue
            term = index if factor == 1 else self.emit.mul(index, self.emit.integer(factor))
            total = term if total is None else self.emit.add(total, term)
        return self.emit.integer(0) if total is None else total

    def _map(self, expression: AffineExpr, loops: Sequence[SSAValue]) -> SSAValue:
        factors, base = linear_coefficients(expression, len(loops))
        return self._sum(zip(loops, factors, strict=True), base)

    # --- elements

    def element(self, value: SSAValue, at: Indices) -> SSAValue:
        """The element of a tensor at these indices."""
        key = (value, at)
        known = next((scope[key] for scope in self.scopes if key in scope), None)
        if known is not None:
            return known
        if isinstance(value, BlockArgument):
            result = self.load(value, self._ravel(at, shape_of(value)))
        else:
            op = value.owner
            assert isinstance(op, Operation)
            if type(op) not in self._rules:
                raise error_at(
                    op, "has no form element by element", "the body of a tile.loops holds linalg and tensor ops"
                )
            with self.emit.at(op):
                result = self._rules[type(op)](op, at)
        self.scopes[-1][key] = result
        return result

    def _scalar(self, value: SSAValue) -> SSAValue:
        number = literal(value)
        if number is None:
            raise error_at(self.kernel, "fills or pads with a computed value", "give it a constant")
        return self.emit.constant(number, value.type)

    def _zero(self, value: SSAValue) -> SSAValue:
        """An element of a tensor that holds no values."""
        of: Any = element_of(value)
        return self.emit.constant(FloatAttr(0.0, of) if not hasattr(of, "width") else IntegerAttr(0, of), of)

    def _reshape(self, op: tensor.ExpandShapeOp | tensor.CollapseShapeOp, at: Indices) -> SSAValue:
        number = self._ravel(at, shape_of(op.result))
        return self.element(op.src, self._unravel(number, shape_of(op.src)))

    def _pad(self, op: tensor.PadOp, at: Indices) -> SSAValue:
        """The padding's value outside of the source; there the source is read at an index that exists."""
        emit, last = self.emit, op.region.block.last_op
        assert last is not None
        fill, shape = self._scalar(last.operands[0]), shape_of(op.source)
        if not all(shape):
            return fill
        inside: SSAValue | None = None
        indices: list[SSAValue] = []
        for index, low, high, extent in zip(at, op.static_low.get_values(), op.static_high.get_values(), shape, strict=True):  # fmt: skip
            if not low and not high:
                indices.append(index)
                continue
            moved = emit.binary(arith.SubiOp, index, emit.integer(low))
            within = emit.compare("ult", moved, emit.integer(extent))
            indices.append(emit.select(within, moved, emit.integer(0)))
            inside = within if inside is None else emit.binary(arith.AndIOp, inside, within)
        value = self.element(op.source, tuple(indices))
        return value if inside is None else emit.select(inside, value, fill)

    def _slice(self, op: tensor.ExtractSliceOp, at: Indices) -> SSAValue:
        """The source at offset + index * stride."""
        steps = zip(at, op.static_offsets.get_values(), op.static_strides.get_values(), strict=True)
        return self.element(op.source, tuple(self._sum([(index, step)], base) for index, base, step in steps))

    def _concat(self, op: tensor.ConcatOp, at: Indices) -> SSAValue:
        """The element of the one operand that holds it; the others are not read."""
        dim = op.dim.value.data
        begins = [0, *accumulate(shape_of(value)[dim] for value in op.inputs)]
        held = [(v, begin) for v, begin in zip(op.inputs, begins, strict=False) if shape_of(v)[dim]]
        return self._among(held or [(op.inputs[0], 0)], dim, at)

    def _among(self, held: Sequence[tuple[SSAValue, int]], dim: int, at: Indices) -> SSAValue:
        """Halves the operands until one is left: as many comparisons as the logarithm of their number."""
        if len(held) == 1:
            ((value, begin),) = held
            moved = self.emit.binary(arith.SubiOp, at[dim], self.emit.integer(begin)) if begin else at[dim]
            return self.element(value, (*at[:dim], moved, *at[dim + 1 :]))
        middle = len(held) // 2
        below = self.emit.compare("ult", at[dim], self.emit.integer(held[middle][1]))

        def side(part: Sequence[tuple[SSAValue, int]]) -> Callable[[], SSAValue]:
            def made() -> SSAValue:
                with self.scope():
                    return self._among(part, dim, at)

            return made

        return self.emit.choose(below, side(held[:middle]), side(held[middle:]))

    def _listed(self, op: arith.ConstantOp, at: Indices) -> SSAValue:
        """One of a few numbers, chosen by the element's row-major number."""
        assert isinstance(op.value, DenseIntOrFPElementsAttr)
        of, number = element_of(op.result), self._ravel(at, shape_of(op.result))
        listed = list(op.value.get_attrs())
        result = self.emit.constant(listed[-1], of)
        for position in reversed(range(len(listed) - 1)):
            found = self.emit.compare("eq", number, self.emit.integer(position))
            result = self.emit.select(found, self.emit.constant(listed[position], of), result)
        return result

    # --- linalg.generic

    def _generic(self, op: linalg.GenericOp, at: Indices) -> SSAValue:
        """The body at the loops that the output's map gives, in loops over the reductions."""
        out = op.indexing_maps.data[len(op.inputs)].data
        loops: dict[int, SSAValue] = {}
        for expression, index in zip(out.results, at, strict=True):
            (loop,) = expression.used_dims()
            loops[loop] = index
        if len(op.outputs) != 1:
            raise error_at(op, f"has {len(op.outputs)} results", "split it: a generic of a tile.loops has one")
        reductions, extents = reduction_loops(op), loop_extents(op)
        if not reductions:
            return self._body(op, loops, None, at)
        start = self.element(op.outputs[0], at)
        return self._reduce(op, loops, [(loop, extents[loop]) for loop in reductions], start, at)

    def _reduce(
        self,
        op: linalg.GenericOp,
        loops: dict[int, SSAValue],
        rest: list[tuple[int, int]],
        total: SSAValue,
        at: Indices,
    ) -> SSAValue:
        """The loops of `rest`, the last one innermost, with the result so far."""
        if not rest:
            return self._body(op, loops, total, at)
        (loop, extent), *inner = rest

        def body(counter: SSAValue, carried: list[SSAValue]) -> list[SSAValue]:
            with self.scope():
                return [self._reduce(op, {**loops, loop: counter}, inner, carried[0], at)]

        (result,) = self.emit.loop(self.emit.integer(0), self.emit.integer(extent), [total], body)
        return result

    def _body(self, op: linalg.GenericOp, loops: dict[int, SSAValue], total: SSAValue | None, at: Indices) -> SSAValue:
        """The scalar ops of the body; `total` stands for the output's argument."""
        order = [loops[loop] for loop in range(len(op.iterator_types))]
        values: dict[SSAValue, SSAValue] = {}
        for argument, operand, attr in zip(op.body.block.args, op.operands, op.indexing_maps.data, strict=True):
            if not argument.uses.get_length():
                continue
            if argument.index < len(op.inputs):
                indices = tuple(self._map(expression, order) for expression in attr.data.results)
                values[argument] = self.element(operand, indices)
            else:
                values[argument] = self.element(operand, at) if total is None else total
        for scalar in op.body.block.ops:
            if isinstance(scalar, linalg.YieldOp):
                return self._value(scalar.operands[0], values)
            values[scalar.results[0]] = self._insert(scalar, values, order)
        raise error_at(op, "the body yields nothing")

    def _value(self, value: SSAValue, values: Mapping[SSAValue, SSAValue]) -> SSAValue:
        return values[value] if value in values else self._scalar(value)

    def _insert(self, scalar: Operation, values: Mapping[SSAValue, SSAValue], order: Sequence[SSAValue]) -> SSAValue:
        if isinstance(scalar, linalg.IndexOp):
            return self.emit.insert(arith.IndexCastOp(order[scalar.dim.value.data], IndexType())).results[0]
        if isinstance(scalar, tensor.ExtractOp):
            positions = [self._value(position, values) for position in scalar.indices]
            return self.element(scalar.tensor, tuple(self.emit.number(position) for position in positions))
        if isinstance(scalar, arith.ConstantOp):
            return self.emit.constant(scalar.value, scalar.result.type)
        made = scalar.clone({operand: self._value(operand, values) for operand in scalar.operands})
        return self.emit.insert(made).results[0]
