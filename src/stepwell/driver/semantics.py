"""Checks of meaning: a module is executed before and after a pass, and the results are compared as the pass declares."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from math import prod
from typing import IO, TYPE_CHECKING

from xdsl.dialects.builtin import ContainerType, Float16Type, ModuleOp
from xdsl.passes import ModulePass

from stepwell.dialects import graph
from stepwell.driver.driver import Observer
from stepwell.driver.execute import NotExecutable, interpret
from stepwell.driver.meaning import assert_same_results, largest_gap
from stepwell.driver.node_values import Values, first_differing, values_of
from stepwell.driver.signature import Array, signature_of
from stepwell.passes import MEANINGS, Meaning, StepwellContext, StepwellPass
from stepwell.runtime.errors import ComparisonError

if TYPE_CHECKING:
    from stepwell.dialects.weights import WeightStore

POOLED = 64
"""Terms of a sum that a network without weights may have (an average over a window)."""


def longest_sum(module: ModuleOp) -> int:
    """An upper bound of the terms in one output element of the module's contractions: a weight's elements, over the smaller of its
    two leading extents (one of them is the outputs; convolutions keep taps last)."""
    attributes = [value for op in module.walk() for value in (*op.properties.values(), *op.attributes.values())]
    shapes = [value.type.get_shape() for value in attributes if isinstance(value, graph.WeightAttr)]
    outputs = [min((extent for extent in shape[:2] if extent > 1), default=1) for shape in shapes]
    return max(
        [POOLED, *(prod(shape) // count for shape, count in zip(shapes, outputs, strict=True) if len(shape) > 1)]
    )


def coarse_unit(module: ModuleOp) -> float:
    """The unit roundoff of f16 where the module keeps values in it, else 0: f32 is what sums are kept in."""
    types = (value.type for op in module.walk() for value in op.results)
    elements = (kind.get_element_type() if isinstance(kind, ContainerType) else kind for kind in types)
    return 2.0**-11 if any(isinstance(element, Float16Type) for element in elements) else 0.0


def assert_same_meaning(
    before: ModuleOp,
    after: ModuleOp,
    inputs: dict[str, Array] | None = None,
    *,
    meaning: Meaning = "exact",
    rtol: float = 0.0,
    weights: WeightStore | None = None,
    seed: int = 0,
    what: str = "",
) -> None:
    """Execute both modules on `inputs` (made from `seed` where none are given); a ComparisonError says which output differs by how much."""
    if meaning == "changes":
        return
    values = inputs if inputs is not None else signature_of(before).random_inputs(seed)
    assert_same_results(
        interpret(before, values, weights=weights),
        interpret(after, values, weights=weights),
        meaning,
        rtol=rtol,
        terms=longest_sum(before),
        between=max(coarse_unit(before), coarse_unit(after)),
        what=what,
    )


@dataclass
class SemanticsCheck(Observer):
    """`--check-semantics`: every pass is held to its meaning, and says how far the results moved and at which source name they first did. Passes that
    declare none (xDSL's) are held to `exact`. A form of the module that this machine cannot execute is said so, and the next that it can
    is held to the loosest meaning since."""

    ctx: StepwellContext
    seed: int = 0
    stream: IO[str] = field(default_factory=lambda: sys.stderr)
    inputs: dict[str, Array] = field(default_factory=dict, init=False)
    values: Values = field(default_factory=Values, init=False)
    terms: int = field(default=POOLED, init=False)
    between: float = field(default=0.0, init=False)
    pending: list[StepwellPass] = field(default_factory=list, init=False)

    def before(self, step: int, pass_: ModulePass, module: ModuleOp) -> None:
        if step:
            return
        self.inputs = signature_of(module).random_inputs(self.seed)
        self.values = values_of(module, self.inputs, self.ctx.weights)
        self.terms = longest_sum(module)

    def after(self, step: int, pass_: ModulePass, module: ModuleOp, seconds: float) -> None:
        if isinstance(pass_, StepwellPass):
            self.pending.append(pass_)
        try:
            values = values_of(module, self.inputs, self.ctx.weights)
        except NotExecutable as reason:
            self.say(f"{pass_.name}: not executed: {reason}")
            return
        meaning = MEANINGS[max((MEANINGS.index(p.meaning) for p in self.pending), default=0)]
        rtol = max((p.rtol for p in self.pending), default=0.0)
        what = ", ".join(p.name for p in self.pending) or pass_.name
        self.between = max(self.between, coarse_unit(module))
        first = first_differing(self.values.nodes, values.nodes)
        place = f"; first differing: {first}" if first else ""
        try:
            assert_same_results(
                self.values.outputs,
                values.outputs,
                meaning,
                rtol=rtol,
                terms=self.terms,
                between=self.between,
                what=what,
            )
        except ComparisonError as error:
            raise ComparisonError(f"{error.message}{place}", where=error.where) from None
        gap = largest_gap(self.values.outputs, values.outputs)
        told = f"the results differ by {gap:.3g}" if gap else "the results are the same"
        self.say(f"{what} ({meaning}): {told}{place}")
        self.values, self.pending = values, []

    def say(self, line: str) -> None:
        """Print a line of the report."""
        print(f"check-semantics: {line}", file=self.stream)
