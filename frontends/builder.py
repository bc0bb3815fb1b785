"""What the converters of every frontend build with: graph ops that carry the source node's name, explicit broadcasting, and constants that are
evaluated when a converter asks for them.

A frontend never folds by itself. It emits ops for shape arithmetic as for everything else, and where a value must be known while importing (the shape of a
reshape, the axes of a reduction) it asks `array(value)`: that runs the graph interpreter over the ops the value hangs on, if they hang on constants
only. `finish` then takes out what nothing uses and writes small constant results as constants.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain, count
from math import prod

import numpy as np
from xdsl.dialects import func
from xdsl.dialects.builtin import ArrayAttr, DictionaryAttr, FunctionType, ModuleOp, StringAttr, TensorType
from xdsl.ir import Attribute, Block, BlockArgument, Operation, OpResult, Region, SSAValue

from stepwell.dialects import graph
from stepwell.dialects.graph.interpreter import run_graph_op
from stepwell.dialects.numpy_types import Array, element_type_of, numpy_dtype
from stepwell.frontends.weights import WeightStore
from stepwell.passes import location_of, names_of
from stepwell.ssa_names import ssa_hint

EVALUATED_LIMIT = 1 << 24
"""Most elements of a value that is evaluated while importing; a longer chain of large constants stays in the module as ops."""
FOLDED_LIMIT = 1024
"""Most elements of a result that `finish` replaces by its value."""


_CONSTANTS = (graph.WeightOp,)


class Unsupported(Exception):
    """What a converter raises when it cannot express a node; the text says what and, where it can, what to do instead."""


class GraphBuilder:
    """Appends graph ops to `block`. Constants and weights go to `weights`, ops are located at `node_name`."""

    def __init__(self, block: Block, weights: WeightStore) -> None:
        self.block, self.weights = block, weights
        self.node_name = ""
        self._arrays: dict[SSAValue, Array | None] = {}

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
        self.block.add_op(op)
        return op.results

    # --- constants

    def weight(self, name: str, array: Array) -> SSAValue:
        """A graph.weight for an array that goes into the store under `name`; Unsupported for element types that the IR lacks."""
        try:
            element_type_of(array.dtype)
        except TypeError as error:
            raise Unsupported(f"{name!r}: {error}") from None
        op = graph.WeightOp(self.weights.add(name, array))
        op.location = location_of([name])
        self.block.add_op(op)
        set_name_hint(op.result, name)
        return op.result

    def array(self, value: SSAValue) -> Array | None:
        """The value as an array where it hangs on constants only, else None."""
        if value not in self._arrays:
            self._evaluate(value)
        return self._arrays[value]

    def constant_array(self, value: SSAValue, what: str) -> Array:
        """The value as an array; Unsupported, naming `what` it is, when the network's inputs decide it."""
        array = self.array(value)
        if array is None:
            raise Unsupported(f"{what} must be a constant: it is computed from the network's inputs")
        return array

    def integers(self, value: SSAValue, what: str) -> tuple[int, ...]:
        """The elements of a constant value as integers, in row-major order."""
        return tuple(int(element) for element in self.constant_array(value, what).reshape(-1))

    def _evaluate(self, value: SSAValue) -> None:
        """Fill `_arrays` for `value` and all it hangs on, without recursion: chains are as long as networks are deep."""
        pending = [value]
        while pending:
            current = pending[-1]
            missing = [v for v in _operands_of(current) if v not in self._arrays]
            if missing:
                pending.extend(missing)
                continue
            pending.pop()
            if current not in self._arrays:
                self._run(current)

    def _run(self, value: SSAValue) -> None:
        if isinstance(value, BlockArgument):
            self._arrays[value] = None
            return
        op = value.owner
        assert isinstance(op, Operation)
        operands = [self._arrays[operand] for operand in op.operands]
        known = [array for array in operands if array is not None]
        if len(known) < len(operands) or sum(map(_elements, op.results)) > EVALUATED_LIMIT:
            self._arrays.update(dict.fromkeys(op.results))
            return
        self._arrays.update(zip(op.results, run_graph_op(op, known, self.weights), strict=True))

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

    def broadcast_all(self, values: Iterable[SSAValue]) -> list[SSAValue]:
        """All values under the shape that NumPy's rule gives them together."""
        found = list(values)
        try:
            shape = np.broadcast_shapes(*map(shape_of, found))
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

    def scalar_like(self, name: str, value: float, like: SSAValue) -> SSAValue:
        """A constant number, kept as the weight `<node>.<name>`, repeated to the type of `like`."""
        type = tensor_type(like)
        scalar = self.weight(f"{self.node_name}.{name}", np.asarray(value, numpy_dtype(type)))
        return self.emit(graph.BroadcastOp(scalar, dims=[], shape=type.get_shape()))

    # --- the end

    def finish(self, results: Sequence[SSAValue]) -> list[SSAValue]:
        """The network's results, after results of at most FOLDED_LIMIT elements that hang on constants only are replaced by their values, and ops
        whose results nothing needs are taken out."""
        replaced = {value: value for value in results}
        for op in reversed(list(self.block.ops)):
            needed = [result for result in op.results if result.first_use or result in replaced]
            if needed and not self._is_folded(op):
                continue
            for result in needed:
                constant = self._constant_before(op, result)
                result.replace_all_uses_with(constant)
                replaced.update({value: constant for value, now in replaced.items() if now is result})
            self.block.erase_op(op)
        return [replaced[value] for value in results]

    def _is_folded(self, op: Operation) -> bool:
        """True where all results are known, small, and more than a repetition."""
        if isinstance(op, (*_CONSTANTS, graph.BroadcastOp)) or sum(map(_elements, op.results)) > FOLDED_LIMIT:
            return False
        return all(self.array(result) is not None for result in op.results)

    def _constant_before(self, op: Operation, result: OpResult) -> SSAValue:
        array = self._arrays[result]
        assert array is not None
        names = names_of(op) or (self.node_name,)
        made = graph.WeightOp(self.weights.add(self._unused_name(f"{names[0]}.{op.name.partition('.')[2]}"), array))
        made.location = op.location
        made.result.name_hint = result.name_hint
        self.block.insert_op_before(made, op)
        return made.result

    def _unused_name(self, name: str) -> str:
        numbered = (f"{name}.{number}" for number in count(1))
        return next(found for found in chain([name], numbered) if found not in self.weights)


def module_of(
    block: Block, inputs: Sequence[str], results: Sequence[SSAValue], outputs: Sequence[str], name: str = ""
) -> ModuleOp:
    """The graph-level module of a network: `func.func @main` over `block`, whose arguments are called `inputs` and which returns `results`, called
    `outputs`. `name`, or else the outputs, is its location."""
    terminator = func.ReturnOp(*results)
    terminator.location = location_of(outputs)
    block.add_op(terminator)
    type = FunctionType.from_lists([argument.type for argument in block.args], [result.type for result in results])
    main = func.FuncOp("main", type, Region(block), arg_attrs=_names(inputs), res_attrs=_names(outputs))
    main.location = location_of([name] if name else outputs)
    module = ModuleOp([main], {"stepwell.level": StringAttr("graph")})
    module.location = main.location
    return module


def _names(names: Sequence[str]) -> ArrayAttr[DictionaryAttr]:
    return ArrayAttr(DictionaryAttr({"stepwell.name": StringAttr(name)}) for name in names)


def _operands_of(value: SSAValue) -> Sequence[SSAValue]:
    return value.owner.operands if isinstance(value.owner, Operation) else ()


def _elements(value: SSAValue) -> int:
    return prod(shape_of(value))


def tensor_type(value: SSAValue) -> TensorType[Attribute]:
    """The tensor type of a value that an importer made."""
    assert isinstance(value.type, TensorType)
    return value.type


def shape_of(value: SSAValue) -> tuple[int, ...]:
    """The extents of a value that an importer made."""
    return tensor_type(value).get_shape()


def set_name_hint(value: SSAValue, name: str) -> None:
    """Let the IR text show `name`, as far as identifiers can."""
    value.name_hint = ssa_hint(name)
