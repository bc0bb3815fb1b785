"""Graph ops as importers write them: named after the source's node, with explicit broadcasting, one method for what many converters need."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain, count

from xdsl.dialects.builtin import TensorType, i64
from xdsl.ir import Attribute, Block, Operation, OpResult, Region, SSAValue

from stepwell.dialects import graph
from stepwell.dialects.graph import extents
from stepwell.dialects.graph.extents import Extent, Shape
from stepwell.frontends.shapes import MOST, too_large
from stepwell.ir.locations import location_of
from stepwell.ir.ssa_names import ssa_hint
from stepwell.runtime.errors import ModelError


class Unsupported(Exception):
    """What a converter raises when it cannot express a node; the text says what and, where it can, what to do instead."""


@contextmanager
def converting() -> Iterator[None]:
    """Around the conversion of one node of a file: what a converter stumbles over where an input is missing or an attribute is of another kind than its operator's
    becomes the Unsupported that is told with the node's name."""
    try:
        yield
    except MISFITS as error:
        raise Unsupported(misfit(error)) from error


MISFITS = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)
"""What a converter may stumble over."""


def misfit(error: Exception) -> str:
    """One of these as a reason."""
    said = str(error).partition("\n")[0]
    return f"its inputs or attributes do not fit the operator ({type(error).__name__}: {said})"


def not_imported(what: str, reasons: Sequence[str], where: str, hint: str = "") -> ModelError:
    """The error of an importer that found `reasons` against `what` (the model, the network, the graph): all of them at once."""
    plural = "s" if len(reasons) > 1 else ""
    return ModelError(
        f"the {what} cannot be imported, {len(reasons)} reason{plural}", where=where, hint=hint, reasons=reasons
    )


class Emitter:
    """Appends graph ops to `block`, located at `node_name`."""

    def __init__(self, block: Block) -> None:
        self.block = block
        self.node_name = ""
        self._symbols: set[str] = set()
        self._decided: dict[tuple[Hashable, ...], str] = {}

    @contextmanager
    def into(self, block: Block) -> Iterator[None]:
        """Append to another block: the body of a branch or a loop."""
        before, self.block = self.block, block
        try:
            yield
        finally:
            self.block = before

    # --- emitting

    def emit(self, op: Operation) -> SSAValue:
        """Append `op`, named after the node, and return its first result; VerifyException when its verifier refuses it."""
        return self.emit_all(op)[0]

    def emit_all(self, op: Operation) -> Sequence[OpResult]:
        """As `emit`, with all results."""
        op.location = location_of([self.node_name])
        op.verify()
        for result in op.results:
            if isinstance(result.type, TensorType) and (reason := too_large(shape_of(result), MOST)):
                raise Unsupported(f"it would give a tensor of {reason}")
        self.block.add_op(op)
        return op.results

    def symbol(self, *decided: Hashable) -> str:
        """A name for an extent that the node's data decides: the node's, numbered where it is taken; the same one for the same values that it is `decided` by."""
        if decided in self._decided:
            return self._decided[decided]
        numbered = (f"{self.node_name}.{number}" for number in count(1))
        name = next(found for found in chain([self.node_name], numbered) if found not in self._symbols)
        self._symbols.add(name)
        if decided:
            self._decided[decided] = name
        return name

    def loop(
        self,
        carried: Sequence[SSAValue],
        body: Callable[[SSAValue, list[SSAValue]], Sequence[SSAValue]],
        *,
        bound: int | None = None,
        trip: SSAValue | None = None,
        condition: SSAValue | None = None,
    ) -> list[SSAValue]:
        """A graph.loop and its results. `body` gets the iteration and the carried values, and gives what the region yields: with a `condition` first whether
        to go on, then the next carried values, then slices to stack."""
        block = Block(arg_types=[TensorType(i64, []), *(value.type for value in carried)])
        with self.into(block):
            iteration, *arguments = block.args
            yielded = body(iteration, list(arguments))
            self._end(yielded)
        symbol = self.symbol() if condition is not None or trip is not None else None
        op = graph.LoopOp(carried, Region(block), bound=bound, trip=trip, condition=condition, symbol=symbol)
        return list(self.emit_all(op))

    def _end(self, values: Sequence[SSAValue]) -> None:
        op = graph.YieldOp(*values)
        op.location = location_of([self.node_name])
        self.block.add_op(op)

    # --- small ops

    def reshape(self, value: SSAValue, shape: Sequence[int]) -> SSAValue:
        """`value` under another shape; itself when it has that already."""
        if shape_of(value) == tuple(shape):
            return value
        return self.emit(graph.ReshapeOp(value, shape))

    def transpose(self, value: SSAValue, permutation: Sequence[int]) -> SSAValue:
        """`value` with its dims in another order; itself for the identity."""
        if list(permutation) == sorted(permutation):
            return value
        return self.emit(graph.TransposeOp(value, tuple(permutation)))

    def cast(self, value: SSAValue, element: Attribute) -> SSAValue:
        """`value` with another element type; itself when it has that already."""
        if tensor_type(value).element_type == element:
            return value
        return self.emit(graph.CastOp(value, element))

    def unary(self, kind: str, value: SSAValue) -> SSAValue:
        """A graph.unary."""
        return self.emit(graph.UnaryOp(value, kind=kind))

    def broadcast(self, value: SSAValue, shape: Sequence[int]) -> SSAValue:
        """`value` repeated to `shape` by NumPy's rule: aligned at the last dims, extents of 1 stretch. Also where nothing is repeated
        (a bias in a batch of 1), so that the ops, and with them the kernels, are the same for every batch."""
        before = shape_of(value)
        if before == tuple(shape):
            return value
        offset = len(shape) - len(before)
        if offset < 0 or any(e not in (1, shape[offset + d]) for d, e in enumerate(before)):
            raise Unsupported(f"shapes {list(before)} and {list(shape)} do not broadcast")
        kept = [d for d, extent in enumerate(before) if extent != 1]
        flat = self.reshape(value, [before[d] for d in kept])
        return self.emit(graph.BroadcastOp(flat, dims=[offset + d for d in kept], shape=shape))

    def along(self, vector: SSAValue, axis: int, like: SSAValue) -> SSAValue:
        """A tensor repeated to the shape of `like`, its dims standing at `axis` and after."""
        dims = list(range(axis, axis + len(shape_of(vector))))
        return self.emit(graph.BroadcastOp(vector, dims=dims, shape=shape_of(like)))

    def broadcast_all(self, values: Iterable[SSAValue]) -> list[SSAValue]:
        """All values under the shape that NumPy's rule gives them together."""
        found = list(values)
        try:
            shape = broadcast_shape(*map(shape_of, found))
        except ValueError:
            shapes = " and ".join(str(list(shape_of(value))) for value in found)
            raise Unsupported(f"shapes {shapes} do not broadcast") from None
        return [self.broadcast(value, shape) for value in found]

    def binary(self, kind: str, a: SSAValue, b: SSAValue) -> SSAValue:
        """A graph.binary of two values that NumPy's rule broadcasts to each other."""
        left, right = tensor_type(a), tensor_type(b)
        if left.element_type != right.element_type:
            raise Unsupported(f"operands have element types {left.element_type} and {right.element_type}")
        first, second = self.broadcast_all([a, b])
        return self.emit(graph.BinaryOp(first, second, kind=kind))

    def joined(self, values: Sequence[SSAValue], dim: int) -> SSAValue:
        """Values one behind the other along a dim; those of counted extent pack without gaps."""
        if len(values) == 1:
            return values[0]
        extents = [shape_of(value)[dim] for value in values]
        packed = any(isinstance(extent, Extent) for extent in extents)
        return self.emit(graph.ConcatOp(values, dim=dim, symbol=self.symbol(*extents) if packed else None))

    def number(self, value: float, like: SSAValue) -> SSAValue:
        """A constant number with the element type and the shape of `like`."""
        scalar = self.emit(graph.ConstantOp(value, self.element(like)))
        return self.broadcast(scalar, shape_of(like))

    def number_of(self, value: float, element: Attribute, like: SSAValue) -> SSAValue:
        """A constant number of another element type, with the shape of `like`."""
        return self.broadcast(self.emit(graph.ConstantOp(value, element)), shape_of(like))

    def zeros(self, like: SSAValue, shape: Sequence[int]) -> SSAValue:
        """Zeros of the element type of `like` under another shape."""
        scalar = self.emit(graph.ConstantOp(0, self.element(like)))
        return self.broadcast(scalar, shape)

    def element(self, value: SSAValue) -> Attribute:
        """The element type of a value."""
        return tensor_type(value).element_type

    def cut(self, value: SSAValue, dim: int, begin: int, end: int) -> SSAValue:
        """The elements from `begin` to `end` along one dim; the value itself where that is all of them."""
        shape = shape_of(value)
        if (begin, end) == (0, shape[dim]):
            return value
        begins = [begin if d == dim else 0 for d in range(len(shape))]
        extents = [end - begin if d == dim else extent for d, extent in enumerate(shape)]
        return self.emit(graph.SliceOp(value, begins=begins, extents=extents))


def components(indices: SSAValue, rank: int) -> range:
    """One number for each component of indices, which lie along their last dim; Unsupported where they are more than the dims that are left."""
    shape = shape_of(indices)
    if not shape or shape[-1] > rank:
        raise Unsupported(f"indices of shape {list(shape)} for {rank} dims: the last dim holds a position in them")
    return range(shape[-1])


def tensor_type(value: SSAValue) -> TensorType[Attribute]:
    """The tensor type of a value that an importer made."""
    assert isinstance(value.type, TensorType)
    return value.type


def shape_of(value: SSAValue) -> Shape:
    """The extents of a value that an importer made, an `Extent` where data decides one."""
    return extents.shape_of(tensor_type(value))


def set_name_hint(value: SSAValue, name: str) -> None:
    """Let the IR text show `name`, with what identifiers lack replaced by underscores."""
    value.name_hint = ssa_hint(name)


def broadcast_shape(*shapes: tuple[int, ...]) -> tuple[int, ...]:
    """The shape that NumPy's rule gives, for extents of any size (NumPy's own function overflows at 2**63 elements); ValueError where there is none."""
    rank = max(map(len, shapes), default=0)
    padded = [(1,) * (rank - len(shape)) + tuple(shape) for shape in shapes]
    found = [{extent for extent in extents if extent != 1} for extents in zip(*padded, strict=True)]
    if any(len(extents) > 1 for extents in found):
        raise ValueError(f"shapes {', '.join(map(str, shapes))} do not broadcast")
    return tuple(extents.pop() if extents else 1 for extents in found)
