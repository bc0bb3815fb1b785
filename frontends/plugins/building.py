"""How the meaning of a plugin is written: with the builder of all frontends, whose weights are called after their contents."""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.dialects import func
from xdsl.dialects.builtin import FunctionType, ModuleOp
from xdsl.ir import Block, Operation, OpResult, Region, SSAValue

from stepwell.dialects import graph
from stepwell.dialects.numpy_types import Array, element_type_of
from stepwell.frontends.builder import GraphBuilder
from stepwell.frontends.emitter import Unsupported, set_name_hint


class PluginBuilder(GraphBuilder):
    """A graph builder for one op of a plugin: everything that it emits stands at the op's location."""

    like: Operation | None = None

    def emit_all(self, op: Operation) -> Sequence[OpResult]:
        """As the builder's, with the location of the op that is replaced."""
        results = super().emit_all(op)
        if self.like is not None:
            op.location = self.like.location
        return results

    def weight(self, name: str, array: Array) -> SSAValue:
        """A stored array, called `name#` and the beginning of its hash: two ops of one plugin may store different ones."""
        try:
            element_type_of(array.dtype)
        except TypeError as error:
            raise Unsupported(f"{name!r}: {error}") from None
        value = self.emit(graph.WeightOp(self.weights.add_by_content(name, array)))
        set_name_hint(value, name)
        return value


def function_module(block: Block, results: Sequence[SSAValue]) -> ModuleOp:
    """A module whose `func.func @main` is `block`, returning `results`."""
    block.add_op(func.ReturnOp(*results))
    type = FunctionType.from_lists([argument.type for argument in block.args], [value.type for value in results])
    return ModuleOp([func.FuncOp("main", type, Region(block))])
