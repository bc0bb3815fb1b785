"""Weights made up for a network whose own are not at hand, so that what goes in is seen in what comes out.

Plain random weights make deep networks ignore their input: the outputs of two images then differ by less than rounding, and a reader that loses half of the layers passes. Here each
normalisation gets the statistics that it meets, and each product an output of variance 1."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod, sqrt

import numpy as np
from xdsl.dialects.builtin import ModuleOp
from xdsl.dialects.func import ReturnOp
from xdsl.ir import Operation, SSAValue

from stepwell.dialects import graph
from stepwell.dialects.graph.attributes import NO_HASH
from stepwell.dialects.graph.interpreter import argument_names, main_function, run_graph_op
from stepwell.dialects.numpy_types import Array
from stepwell.frontends.weights import WeightStore

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
    main = main_function(module)
    run = _Run(store, seed)
    run.values.update(zip(main.body.block.args, (inputs[name] for name in argument_names(main)), strict=True))
    for op in main.body.block.ops:
        if not isinstance(op, ReturnOp):
            run.step(op)
    return run.made


class _Run:
    """The interpreter over a block, one op after the other; `made` grows."""

    def __init__(self, store: WeightStore, seed: int) -> None:
        self.store, self.random = store, np.random.default_rng(seed)
        self.values: dict[SSAValue, Array] = {}
        self.made: dict[str, Array] = {}
        self.used: set[str] = set()

    def step(self, op: Operation) -> None:
        """The results of one op; operands that nothing reads any more are forgotten."""
        if isinstance(op, graph.WeightOp) and op.ref.sha256.data == NO_HASH:
            self.values[op.result] = self._named(op)
            return
        if isinstance(op, graph.BatchNormOp):
            self._measure(op)
        operands = [self.values[operand] for operand in op.operands]
        results = run_graph_op(op, operands, self.store)
        if isinstance(op, _PRODUCTS):
            results = (self._scaled(op.operands[1], results[0]),)
        self.values.update(zip(op.results, results, strict=True))
        for operand in op.operands:
            if all(use.operation is op or use.operation.results[0] in self.values for use in operand.uses if use.operation.results):
                if not isinstance(operand.owner, graph.WeightOp):
                    self.values.pop(operand, None)

    def _named(self, op: graph.WeightOp) -> Array:
        name, shape = op.ref.source.data, op.ref.type.get_shape()
        if name not in self.made:
            self.made[name] = self._drawn(op, shape).astype(np.float32)
        return self.made[name]

    def _drawn(self, op: graph.WeightOp, shape: tuple[int, ...]) -> Array:
        if _is_factor(op.result):
            return self.random.uniform(0.8, 1.2, shape)
        scale = 0.2 if len(shape) < 2 else sqrt(2 / max(1, prod(shape[1:])))
        return self.random.standard_normal(shape) * scale

    def _measure(self, op: graph.BatchNormOp) -> None:
        x = self.values[op.operands[0]].astype(np.float64)
        dims = tuple(d for d in range(x.ndim) if d != op.dim)
        for value, statistic in ((op.operands[3], x.mean(dims)), (op.operands[4], x.var(dims) + 1e-3)):
            self._replace(value, lambda _, new=statistic: new)

    def _scaled(self, weight: SSAValue, result: Array) -> Array:
        factor = 1 / (float(result.std()) + _LEAST)
        return result * np.float32(factor) if self._replace(weight, lambda array: array * factor) else result

    def _replace(self, value: SSAValue, change: object) -> bool:
        """Give a weight that was made here, and that nothing else has used before, another value."""
        owner = value.owner
        if not isinstance(owner, graph.WeightOp) or owner.ref.source.data not in self.made:
            return False
        name = owner.ref.source.data
        if name in self.used:
            return False
        self.used.add(name)
        assert callable(change)
        self.made[name] = self.values[value] = np.asarray(change(self.made[name]), np.float32)
        return True


def _is_factor(value: SSAValue) -> bool:
    """True for a vector that others are multiplied by."""
    for use in value.uses:
        op = use.operation
        if isinstance(op, graph.BroadcastOp | graph.ReshapeOp) and _is_factor(op.result):
            return True
        if isinstance(op, graph.BinaryOp) and op.kind == "mul":
            return True
    return False
