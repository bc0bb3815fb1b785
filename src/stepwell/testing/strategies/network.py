"""A block of graph ops as a whole module: function, names of inputs and outputs, level."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import ml_dtypes
import numpy as np
from xdsl.dialects import func
from xdsl.dialects.builtin import ArrayAttr, DictionaryAttr, FunctionType, ModuleOp, StringAttr
from xdsl.ir import Block, Region, SSAValue

from stepwell.dialects.weights import WeightStore
from stepwell.driver.signature import Array, signature_of
from stepwell.ir.printing import module_text
from stepwell.passes import StepwellContext, location_of
from stepwell.plugins.universe import make_context


@dataclass(frozen=True)
class GeneratedGraph:
    """A generated module with the values of its weights. With `integers` every input and weight is a small integer, and every value that it
    computes is one that float16 holds exactly."""

    module: ModuleOp
    weights: WeightStore = field(default_factory=WeightStore)
    integers: bool = False

    def context(self) -> StepwellContext:
        """A context that knows all dialects and holds the weights."""
        return make_context(self.weights)

    def inputs(self, seed: int = 0) -> dict[str, Array]:
        """Inputs made from a seed: normally distributed, or with `integers` whole numbers of at most 2."""
        made = signature_of(self.module).random_inputs(seed)
        if not self.integers:
            return made
        return {name: (array.astype("float64").round() % 5 - 2).astype(array.dtype) for name, array in made.items()}

    def special_inputs(self, seed: int = 0) -> dict[str, Array]:
        """Inputs in which NaN, infinities, both zeros, denormals and the ends of the range stand among the others, about one in three."""
        generator = np.random.default_rng(seed)
        return {name: _with_specials(generator, array) for name, array in self.inputs(seed).items()}

    def __repr__(self) -> str:
        return f"GeneratedGraph(\n{module_text(self.module)}\n)"

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        """What Hypothesis prints for a failing example: the module's text."""
        printer.text(repr(self))


def _with_specials(generator: np.random.Generator, array: Array) -> Array:
    return np.where(generator.random(array.shape) < 0.34, generator.choice(_specials(array.dtype), array.shape), array)


def _specials(dtype: np.dtype[Any]) -> Array:
    """The values of an element type that are most often computed wrongly."""
    if dtype == np.bool_:
        return np.array([False, True])
    if dtype.kind in "iu":
        ends = np.iinfo(dtype)
        return np.array([0, 1, ends.max, ends.min], dtype)
    limits = ml_dtypes.finfo(dtype)
    numbers = [limits.smallest_subnormal, -limits.smallest_subnormal, limits.tiny, limits.max, limits.min]
    return np.array([*map(float, numbers), np.nan, np.inf, -np.inf, 0.0, -0.0]).astype(dtype)


def close_network(
    block: Block, outputs: Sequence[SSAValue], weights: WeightStore | None = None, *, integers: bool = False
) -> GeneratedGraph:
    """The module whose `@main` has this body and returns `outputs`; inputs are called x0, x1, .., outputs y0, y1, .."""
    block.add_op(func.ReturnOp(*outputs))
    for position, argument in enumerate(block.args):
        argument.location = location_of([f"x{position}"])
        argument.name_hint = f"x{position}"
    kind = FunctionType.from_lists([a.type for a in block.args], [value.type for value in outputs])
    main = func.FuncOp("main", kind, Region(block), arg_attrs=_names("x", len(block.args)))
    main.res_attrs = _names("y", len(outputs))
    module = ModuleOp([main], {"stepwell.level": StringAttr("graph")})
    module.verify()
    return GeneratedGraph(module, weights or WeightStore(), integers)


def _names(prefix: str, count: int) -> ArrayAttr[DictionaryAttr]:
    return ArrayAttr(DictionaryAttr({"stepwell.name": StringAttr(f"{prefix}{i}")}) for i in range(count))
