"""Layers that hold layers: branches and loops. Their bodies are Python functions that add layers to the same network."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from xdsl.dialects.builtin import TensorType, i64
from xdsl.ir import Attribute, Block, Region, SSAValue

from stepwell.dialects import graph
from stepwell.frontends.emitter import Unsupported, set_name_hint
from stepwell.frontends.network.core import NetworkCore
from stepwell.frontends.network.tensor import Tensor

Tensors = Tensor | Sequence[Tensor]


class ControlLayers(NetworkCore):
    """What a body makes can be used in it only; it may use every tensor that was there before."""

    def add_if(
        self, condition: Tensor, then: Callable[[], Tensors], otherwise: Callable[[], Tensors], *, name: str = ""
    ) -> tuple[Tensor, ...]:
        """What `then` returns where the condition, one element of i1, is true, else what `otherwise` returns: as many tensors, of the same types."""
        with self._layer("if", name, condition) as build:
            if condition.dtype != "i1":
                raise Unsupported(f"the condition is {condition.dtype}: it must be i1, as add_elementwise EQUAL gives")
            chosen = build.reshape(condition.value, [])
            with self._holding():
                first, second = self._body([], then), self._body([], otherwise)
            types = [value.type for value in first.block.last_op.operands]  # type: ignore[union-attr]
            return self._numbered(build.emit_all(graph.IfOp(chosen, types, first, second)))

    def add_loop(
        self,
        carried: Sequence[Tensor],
        body: Callable[..., Tensors],
        iterations: int | Tensor | None = None,
        *,
        going: Tensor | None = None,
        bound: int | None = None,
        name: str = "",
    ) -> tuple[Tensor, ...]:
        """`body(iteration, *values)` gives the carried values of the next iteration, then any slices; results are the last carried values and all of each slice, stacked.

        `iterations`: how often, a number or a tensor of one i64; `going`: whether to begin, then the body gives first whether to go on. With a tensor or `going`, `bound` is the
        most that can be, and stacked results have a counted extent."""
        with self._layer("loop", name, *carried, also=(iterations, going)) as build:
            if iterations is None and going is None:
                raise Unsupported("it does not end: give iterations, or going")
            fixed = isinstance(iterations, int) and going is None
            trip = None if fixed or iterations is None else self._count(iterations)
            begin = None if going is None else build.reshape(going.value, [])
            with self._holding():
                made = self._body([TensorType(i64, []), *(tensor.value.type for tensor in carried)], body)
            op = graph.LoopOp(
                [tensor.value for tensor in carried],
                made,
                trip=trip,
                condition=begin,
                bound=iterations if isinstance(iterations, int) else bound,
                symbol=None if fixed else f"{build.node_name}.steps",
            )
            return self._numbered(build.emit_all(op))

    def _count(self, iterations: int | Tensor) -> SSAValue:
        if isinstance(iterations, Tensor):
            return self._build.reshape(self._build.cast(iterations.value, i64), [])
        return self._build.emit(graph.ConstantOp(iterations, i64))

    def _numbered(self, results: Sequence[SSAValue]) -> tuple[Tensor, ...]:
        return self._results({str(index): value for index, value in enumerate(results)})

    @contextmanager
    def _holding(self) -> Iterator[None]:
        """Layers may be added while another one is; where one of them fails none is there."""
        current, called = self._current, self._build.node_name
        kept = list(self._layers), dict(self._tensors), set(self._taken), self._kinds.copy()
        self._taken.add(called)
        try:
            yield
        except BaseException:
            self._layers, self._tensors, self._taken, self._kinds = kept
            raise
        finally:
            self._taken.discard(called)
            self._current, self._build.node_name = current, called

    def _body(self, types: Sequence[Attribute], made: Callable[..., Tensors]) -> Region:
        """The region of a body: its arguments are tensors for as long as it is built, as is what it makes."""
        block, before = Block(arg_types=types), dict(self._tensors)
        arguments = [Tensor(f"{self._current[0]}.body{index}", value) for index, value in enumerate(block.args)]
        for tensor in arguments:
            set_name_hint(tensor.value, tensor.name)
            self._tensors[tensor.name] = tensor
        with self._build.into(block):
            held = self._current
            found = made(*arguments)
            self._current = held
            given = tuple(found) if isinstance(found, tuple | list) else (found,)
            for tensor in given:
                if not isinstance(tensor, Tensor) or self._tensors.get(tensor.name) is not tensor:
                    raise Unsupported(
                        f"the body gives {tensor!r}: give tensors that it, or the network before it, made"
                    )
            block.add_op(graph.YieldOp(*(tensor.value for tensor in given)))
        self._tensors = before
        return Region(block)
