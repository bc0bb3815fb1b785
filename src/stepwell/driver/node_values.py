"""What the nodes of a network compute, by source name: to tell where two forms of it first differ."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from xdsl.dialects import func
from xdsl.dialects.builtin import ArrayAttr, DictionaryAttr, FunctionType, ModuleOp, StringAttr, TensorType
from xdsl.ir import Operation, SSAValue

from stepwell.dialects.graph import WeightOp
from stepwell.driver.execute import interpret
from stepwell.driver.signature import Array, signature_of
from stepwell.ir.locations import names_of
from stepwell.passes.levels import level_of

if TYPE_CHECKING:
    from stepwell.dialects.weights import WeightStore

EXPOSED = ("graph", "linalg", "tile")
"""Levels whose network is a function on tensors, so that every value can be made an output."""


@dataclass
class Values:
    """The outputs of a run by name, and what the nodes gave by source name, in program order (empty below the tile level)."""

    outputs: dict[str, Array] = field(default_factory=dict)
    nodes: dict[str, Array] = field(default_factory=dict)


def values_of(module: ModuleOp, inputs: Mapping[str, Array], weights: WeightStore | None) -> Values:
    """Run the module once; errors are those of `interpret`."""
    has_main = any(isinstance(op, func.FuncOp) and op.sym_name.data == "main" for op in module.ops)
    if level_of(module) not in EXPOSED or not has_main:
        return Values(interpret(module, inputs, weights=weights))
    wanted = [port.name for port in signature_of(module).outputs]
    copy = module.clone()
    named = _expose(copy)
    results = interpret(copy, inputs, weights=weights)
    arrays = list(results.values())
    nodes = dict(zip(named, arrays[len(wanted) :], strict=True))
    return Values(dict(zip(wanted, arrays, strict=False)), nodes)


def _expose(module: ModuleOp) -> list[str]:
    """Return the values of all nodes behind the network's results; their source names."""
    main = next(op for op in module.ops if isinstance(op, func.FuncOp) and op.sym_name.data == "main")
    block = main.body.block
    last = block.last_op
    assert isinstance(last, func.ReturnOp)
    values = {name: value for op in block.ops for name, value in _named_values(op)}
    returned = [*last.operands, *values.values()]
    block.erase_op(last)
    block.add_op(func.ReturnOp(*returned))
    main.function_type = FunctionType.from_lists(main.function_type.inputs.data, [value.type for value in returned])
    main.res_attrs = ArrayAttr(
        DictionaryAttr({"stepwell.name": StringAttr(f"value {position}")}) for position in range(len(returned))
    )
    return list(values)


def _named_values(op: Operation) -> Iterator[tuple[str, SSAValue]]:
    """The tensors that an op gives, each under the last source name of the op that computes it."""
    if isinstance(op, WeightOp | func.ReturnOp):
        return
    end = op.regions[0].blocks[-1].last_op if op.regions and op.regions[0].blocks else None
    for position, result in enumerate(op.results):
        inner = end.operands[position].owner if end is not None and len(end.operands) == len(op.results) else None
        names = names_of(inner) if isinstance(inner, Operation) else ()
        names = names or names_of(op)
        if names and isinstance(result.type, TensorType) and result.type.has_static_shape():
            yield names[-1], result


def first_differing(before: Mapping[str, Array], after: Mapping[str, Array]) -> str:
    """The first source name whose values are not the same in both, or the empty string. Names that only one has, and values of other sizes, are
    not compared; a value that was laid out otherwise is the same when it holds the same elements."""
    for name, array in before.items():
        if name in after and after[name].size == array.size and not _same_elements(array, after[name]):
            return name
    return ""


def _same_elements(before: Array, after: Array) -> bool:
    if before.shape == after.shape and np.array_equal(before, after, equal_nan=before.dtype.kind == "f"):
        return True
    return np.array_equal(np.sort(before, axis=None), np.sort(after, axis=None), equal_nan=before.dtype.kind == "f")
