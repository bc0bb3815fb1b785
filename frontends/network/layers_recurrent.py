"""Recurrent layers over all steps: LSTM with or without a projection, GRU, simple RNN, in one or both directions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from xdsl.ir import SSAValue

from stepwell.dialects import graph
from stepwell.frontends.emitter import Unsupported, shape_of
from stepwell.frontends.network.build import NetworkBuilder
from stepwell.frontends.network.core import NetworkCore
from stepwell.frontends.network.tensor import Tensor, Weights, one_of

DIRECTIONS = {"FORWARD": (False,), "REVERSE": (True,), "BIDIRECTIONAL": (False, True)}
"""Whether each direction of a layer is reversed."""


def _lengths(given: Tensor | None) -> SSAValue | None:
    if given is not None and not isinstance(given, Tensor):
        raise Unsupported("lengths are no tensor of the network: add_constant makes one of an array")
    return None if given is None else given.value


@dataclass(frozen=True)
class _Direction:
    """One direction's part of the weights, which have a leading dim of directions, made on demand."""

    build: NetworkBuilder
    x: SSAValue
    index: int
    count: int
    reverse: bool

    def part(self, what: str, given: Weights | None, shape: Sequence[int]) -> SSAValue | None:
        """This direction's parameter of `shape`, or None where there is none."""
        if given is None:
            return None
        full = shape if self.count == 1 else [self.count, *shape]
        value = self.build.parameter(what, given, self.x, full)
        if self.count == 1:
            return value
        return self.build.reshape(self.build.cut(value, 0, self.index, self.index + 1), shape)

    def zeros_or(self, what: str, given: Weights | None, shape: Sequence[int]) -> SSAValue:
        """As `part`, zeros where there is none."""
        found = self.part(what, given, shape)
        return self.build.zeros(self.x, shape) if found is None else found

    def needed(self, what: str, given: Weights, shape: Sequence[int]) -> SSAValue:
        """As `part`, of what is always there."""
        found = self.part(what, given, shape)
        if found is None:
            raise Unsupported(f"{what} are missing")
        return found

    def gates(self, weights: Weights, bias: Weights | None, width: int) -> SSAValue:
        """The input's product with its weights [width, I], and its bias: [T, N, width]."""
        steps, rows, extent = shape_of(self.x)
        matrix = self.needed("weights", weights, [width, extent])
        flat = self.build.reshape(self.x, [steps * rows, extent])
        product = self.build.emit(graph.MatmulOp(flat, matrix, transpose_b=True))
        added = self.part("bias", bias, [width])
        if added is not None:
            product = self.build.binary("add", product, self.build.along(added, 1, product))
        return self.build.reshape(product, [steps, rows, width])


class RecurrentLayers(NetworkCore):
    """Inputs are [T, N, I]: steps, batch, width. `direction` is forward, reverse or bidirectional; with two directions every parameter and every state has a
    leading dim of 2, and results are joined along their last dim. Absent states and biases are zeros; `lengths` [N] says how many steps each row has."""

    def add_lstm(
        self,
        input: Tensor,
        hidden: int,
        weights: Weights,
        recurrence: Weights,
        bias: Weights | None = None,
        *,
        recurrent_bias: Weights | None = None,
        projection: Weights | None = None,
        width: int | None = None,
        peepholes: Weights | None = None,
        initial_h: Weights | None = None,
        initial_c: Weights | None = None,
        lengths: Tensor | None = None,
        direction: str = "forward",
        name: str = "",
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Long short-term memory, gates in the order i, o, f, c: weights [4 hidden, I], recurrence [4 hidden, W], both biases [4 hidden], peepholes [3 hidden]
        (i, o, f), projection [W, hidden], whose W is `width`; without a projection W is hidden. Results: h of every step [T, N, W], the last h [N, W],
        the last c [N, hidden]."""
        also = (weights, recurrence, bias, recurrent_bias, projection, peepholes, initial_h, initial_c, lengths)
        with self._layer("lstm", name, input, also=also) as build:
            if (projection is None) != (width is None):
                raise Unsupported("projection and width are given together: weights [width, hidden], and how wide h is")
            wide, found = hidden if width is None else width, []
            for side in self._directions(build, input, hidden, direction):
                found.append(
                    build.emit_all(
                        graph.LstmOp(
                            side.gates(weights, bias, 4 * hidden),
                            side.needed("recurrence", recurrence, [4 * hidden, wide]),
                            side.zeros_or("recurrent bias", recurrent_bias, [4 * hidden]),
                            side.zeros_or("initial h", initial_h, [input.shape[1], wide]),
                            side.zeros_or("initial c", initial_c, [input.shape[1], hidden]),
                            _lengths(lengths),
                            side.part("peepholes", peepholes, [3 * hidden]),
                            side.part("projection", projection, [wide, hidden]),
                            reverse=side.reverse,
                        )
                    )
                )
            sequence, last_h, last_c = self._joined(build, found, ("sequence", "last_h", "last_c"))
            return sequence, last_h, last_c

    def add_gru(
        self,
        input: Tensor,
        hidden: int,
        weights: Weights,
        recurrence: Weights,
        bias: Weights | None = None,
        *,
        recurrent_bias: Weights | None = None,
        linear_before_reset: bool = False,
        initial_h: Weights | None = None,
        lengths: Tensor | None = None,
        direction: str = "forward",
        name: str = "",
    ) -> tuple[Tensor, Tensor]:
        """A gated recurrent layer, gates in the order z, r, h: weights [3 hidden, I], recurrence [3 hidden, hidden], both biases [3 hidden];
        `linear_before_reset` applies the recurrence before the reset gate (cuDNN). Results: h of every step [T, N, hidden], the last h [N, hidden]."""
        also = (weights, recurrence, bias, recurrent_bias, initial_h, lengths)
        with self._layer("gru", name, input, also=also) as build:
            found = [
                build.emit_all(
                    graph.GruOp(
                        side.gates(weights, bias, 3 * hidden),
                        side.needed("recurrence", recurrence, [3 * hidden, hidden]),
                        side.zeros_or("recurrent bias", recurrent_bias, [3 * hidden]),
                        side.zeros_or("initial h", initial_h, [input.shape[1], hidden]),
                        _lengths(lengths),
                        reverse=side.reverse,
                        linear_before_reset=linear_before_reset,
                    )
                )
                for side in self._directions(build, input, hidden, direction)
            ]
            sequence, last_h = self._joined(build, found, ("sequence", "last_h"))
            return sequence, last_h

    def add_rnn(
        self,
        input: Tensor,
        hidden: int,
        weights: Weights,
        recurrence: Weights,
        bias: Weights | None = None,
        *,
        activation: str = "tanh",
        initial_h: Weights | None = None,
        lengths: Tensor | None = None,
        direction: str = "forward",
        name: str = "",
    ) -> tuple[Tensor, Tensor]:
        """h' = activation(weights x + bias + recurrence h), tanh or relu: weights [hidden, I], recurrence [hidden, hidden], bias [hidden]. Results: h of every
        step [T, N, hidden], the last h [N, hidden]."""
        with self._layer("rnn", name, input, also=(weights, recurrence, bias, initial_h, lengths)) as build:
            function = one_of("activation", activation, ("TANH", "RELU")).lower()
            found = [
                build.emit_all(
                    graph.RnnOp(
                        side.gates(weights, bias, hidden),
                        side.needed("recurrence", recurrence, [hidden, hidden]),
                        build.zeros(input.value, [hidden]),
                        side.zeros_or("initial h", initial_h, [input.shape[1], hidden]),
                        _lengths(lengths),
                        activations=(function,),
                        reverse=side.reverse,
                    )
                )
                for side in self._directions(build, input, hidden, direction)
            ]
            sequence, last_h = self._joined(build, found, ("sequence", "last_h"))
            return sequence, last_h

    def _directions(self, build: NetworkBuilder, input: Tensor, hidden: int, direction: str) -> list[_Direction]:
        if len(input.shape) != 3 or hidden < 1:
            raise Unsupported(
                f"hidden is {hidden} and the input has rank {len(input.shape)}: it is [steps, batch, width]"
            )
        sides = DIRECTIONS[one_of("direction", direction, tuple(DIRECTIONS))]
        return [_Direction(build, input.value, index, len(sides), side) for index, side in enumerate(sides)]

    def _joined(
        self, build: NetworkBuilder, found: Sequence[Sequence[SSAValue]], names: Sequence[str]
    ) -> tuple[Tensor, ...]:
        """The results of all directions, joined along their last dim."""
        parts = {name: [results[index] for results in found] for index, name in enumerate(names)}
        joined = {
            name: values[0]
            if len(values) == 1
            else build.emit(graph.ConcatOp(values, dim=len(shape_of(values[0])) - 1))
            for name, values in parts.items()
        }
        return self._results(joined)
