"""What the converters of every frontend build with: graph ops that carry the source node's name, explicit broadcasting, and constants that are
evaluated when a converter asks for them.

A frontend never folds by itself. It emits ops for shape arithmetic as for everything else, and where a value must be known while importing (the shape of a
reshape, the axes of a reduction) it asks `array(value)`: that runs the graph interpreter over the ops the value hangs on, if they hang on constants
only. `finish` then takes out what nothing uses and writes small constant results as constants.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain, count
from math import prod

import numpy as np
from xdsl.dialects import func
from xdsl.dialects.builtin import ArrayAttr, DictionaryAttr, FunctionType, ModuleOp, StringAttr
from xdsl.ir import Block, BlockArgument, Operation, OpResult, Region, SSAValue

from stepwell.dialects import graph
from stepwell.dialects.graph.extents import Extent
from stepwell.dialects.graph.interpreter import run_graph_op
from stepwell.dialects.graph.values import MOST as CONSTANT_LIMIT
from stepwell.dialects.numpy_types import Array, element_type_of, numpy_dtype
from stepwell.dialects.weights import WeightStore
from stepwell.frontends.emitter import Emitter, Unsupported, set_name_hint, shape_of, tensor_type
from stepwell.ir.locations import location_of, names_of

EVALUATED_LIMIT = 1 << 24
"""Most elements of a value that is evaluated while importing; a longer chain of large constants stays in the module as ops."""
FOLDED_LIMIT = 1024
"""Most elements of a result that `finish` replaces by its value."""
_CONSTANTS = (graph.WeightOp, graph.ConstantOp)


class GraphBuilder(Emitter):
    """An emitter that knows values: constants and weights go to `weights`, and are evaluated when a converter asks."""

    def __init__(self, block: Block, weights: WeightStore) -> None:
        super().__init__(block)
        self.weights = weights
        self._arrays: dict[SSAValue, Array | None] = {}

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
        """The value as an array where it hangs on constants only whose values are known and is not too large, else None."""
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

    def counted(self, op: Operation) -> list[SSAValue]:
        """The results of an op whose extents its data decides: where that is known while importing, constants of the extents that they have."""
        results = self.emit_all(op)
        arrays = [self.array(result) for result in results]
        return [value if array is None else self.literal(array) for value, array in zip(results, arrays, strict=True)]

    def literal(self, array: Array) -> SSAValue:
        """A constant array: in the text where it is small enough for that, else a weight named after the node."""
        if 0 < array.size <= CONSTANT_LIMIT:
            return self.emit(graph.ConstantOp(array))
        return self.weight(self._unused_name(f"{self.node_name}.values"), array)

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
        if (
            op.regions
            or self._is_open(op)
            or len(known) < len(operands)
            or sum(map(_elements, op.results)) > EVALUATED_LIMIT
        ):
            self._arrays.update(dict.fromkeys(op.results))
            return
        self._arrays.update(zip(op.results, run_graph_op(op, known, self.weights), strict=True))

    def _is_open(self, op: Operation) -> bool:
        """A weight without a value, or an extent that another op's data decides."""
        if isinstance(op, graph.WeightOp):
            return op.ref.source.data not in self.weights
        symbolic = any(isinstance(extent, Extent) for result in op.results for extent in shape_of(result))
        return symbolic and "symbol" not in op.properties

    def scalar_like(self, name: str, value: float, like: SSAValue) -> SSAValue:
        """A constant number, kept as the weight `<node>.<name>`, repeated to the type of `like`."""
        type = tensor_type(like)
        scalar = self.weight(f"{self.node_name}.{name}", np.asarray(value, numpy_dtype(type)))
        return self.emit(graph.BroadcastOp(scalar, dims=[], shape=shape_of(like)))

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
        made = self._constant_op(array, op)
        made.location = op.location
        made.results[0].name_hint = result.name_hint
        self.block.insert_op_before(made, op)
        return made.results[0]

    def _constant_op(self, array: Array, op: Operation) -> Operation:
        """A constant in the text where it is small enough for that, else a weight named after the op that computed it."""
        if array.size <= CONSTANT_LIMIT:
            return graph.ConstantOp(array)
        names = names_of(op) or (self.node_name,)
        return graph.WeightOp(self.weights.add(self._unused_name(f"{names[0]}.{op.name.partition('.')[2]}"), array))

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
    return prod(int(extent) for extent in shape_of(value))
