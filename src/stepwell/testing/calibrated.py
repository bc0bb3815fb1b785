"""Weights made up for a network whose own are not at hand, so that what goes in is seen in what comes out.

Plain random weights make deep networks ignore their input: the outputs of two images then differ by less than rounding, and a reader that loses half of the
layers passes. Here each normalisation gets the statistics that it meets, and each product an output of variance 1."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from math import prod, sqrt

import numpy as np
from xdsl.dialects.builtin import ModuleOp
from xdsl.dialects.func import ReturnOp
from xdsl.ir import Operation, SSAValue

from stepwell.dialects import graph
from stepwell.dialects.graph.attributes import NO_HASH
from stepwell.dialects.graph.interpreter import argument_names, main_function, run_graph_op
from stepwell.dialects.numpy_types import Array
from stepwell.dialects.weights import WeightStore

_PRODUCTS = (graph.ConvOp, graph.ConvTransposeOp, graph.MatmulOp)
_LEAST = 1e-6


def images(shape: tuple[int, ...], seed: int = 1) -> Array:
    """f32 with a structure in the last two dims: patches of one value, and a little noise."""
    random = np.random.default_rng(seed)
    noise = random.standard_normal(shape)
    if len(shape) < 3:
        return noise.astype(np.float32)
    rows, columns = (-(-extent // 7) for extent in shape[-2:])
    patches = np.kron(random.standard_normal((*shape[:-2], 7, 7)), np.ones((rows, columns)))
    return np.asarray(patches[..., : shape[-2], : shape[-1]] + 0.1 * noise, np.float32)


def calibrated_weights(
    module: ModuleOp, store: WeightStore, inputs: Mapping[str, Array], seed: int = 0
) -> dict[str, Array]:
    """Values by name for every weight of a graph-level module that has none (those of `store` stay as they are), made while the module runs on `inputs`."""
    block = main_function(module).body.block
    run = _Run(store, seed)
    run.values.update(zip(block.args, (inputs[name] for name in argument_names(main_function(module))), strict=True))
    left = Counter(operand for op in block.ops for operand in op.operands)
    for op in block.ops:
        if isinstance(op, ReturnOp):
            break
        run.step(op)
        left.subtract(op.operands)
        for operand in set(op.operands):
            if not left[operand]:
                del run.values[operand]
    return run.made


class _Run:
    """The interpreter over a block, one op after the other; `made` grows."""

    def __init__(self, store: WeightStore, seed: int) -> None:
        self.store, self.random = store, np.random.default_rng(seed)
        self.values: dict[SSAValue, Array] = {}
        self.made: dict[str, Array] = {}
        self.settled: set[str] = set()

    def step(self, op: Operation) -> None:
        """The results of one op."""
        if isinstance(op, graph.WeightOp) and op.ref.sha256.data == NO_HASH:
            self.values[op.result] = self._drawn(op)
            return
        if isinstance(op, graph.BatchNormOp):
            self._measure(op)
        results = run_graph_op(op, [self.values[operand] for operand in op.operands], self.store)
        if isinstance(op, _PRODUCTS):
            results = (self._scaled(op.operands[1], results[0]),)
        self.values.update(zip(op.results, results, strict=True))

    def _drawn(self, op: graph.WeightOp) -> Array:
        name, shape = op.ref.source.data, op.ref.type.get_shape()
        if name not in self.made:
            spread = 0.2 if len(shape) < 2 else sqrt(2 / max(1, prod(shape[1:])))
            values = self.random.standard_normal(shape) * spread
            factor = self.random.uniform(0.8, 1.2, shape)
            self.made[name] = np.asarray(factor if _is_factor(op.result) else values, np.float32)
        return self.made[name]

    def _measure(self, op: graph.BatchNormOp) -> None:
        x = self.values[op.operands[0]].astype(np.float64)
        dims = tuple(d for d in range(x.ndim) if d != op.dim)
        self._settle(op.operands[3], lambda _: x.mean(dims))
        self._settle(op.operands[4], lambda _: x.var(dims) + 1e-3)

    def _scaled(self, weight: SSAValue, result: Array) -> Array:
        factor = np.float32(1 / (float(result.std()) + _LEAST))
        return result * factor if self._settle(weight, lambda array: array * factor) else result

    def _settle(self, value: SSAValue, change: Callable[[Array], Array]) -> bool:
        """Give a weight that was made up another value, once: others have read it then."""
        owner = value.owner
        name = owner.ref.source.data if isinstance(owner, graph.WeightOp) else ""
        if name not in self.made or name in self.settled:
            return False
        self.settled.add(name)
        self.made[name] = self.values[value] = np.asarray(change(self.made[name]), np.float32)
        return True


def _is_factor(value: SSAValue) -> bool:
    """True for what others are multiplied by."""
    for use in value.uses:
        op = use.operation
        if isinstance(op, graph.BroadcastOp | graph.ReshapeOp) and _is_factor(op.result):
            return True
        if isinstance(op, graph.BinaryOp) and op.kind == "mul":
            return True
    return False
