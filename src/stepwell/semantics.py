"""Checks of meaning: a module is executed before and after a pass, and the results are compared as the pass declares."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import prod
from typing import TYPE_CHECKING

from xdsl.dialects.builtin import ModuleOp, TensorType
from xdsl.passes import ModulePass

from stepwell.dialects import graph
from stepwell.driver import Observer
from stepwell.execute import interpret
from stepwell.passes import Meaning, StepwellContext, StepwellPass
from stepwell.signature import Array, signature_of
from stepwell.testing.meaning import assert_same_results

if TYPE_CHECKING:
    from stepwell.frontends.weights import WeightStore

ELEMENTWISE_TERMS = 64
"""Terms of a sum that a network without weights may have (a pooling window)."""


def longest_sum(module: ModuleOp) -> int:
    """An upper bound of the terms in one output element of the module's contractions: from the shapes of its weights."""
    sizes = [
        prod(op.result.type.get_shape()) // max(1, min(op.result.type.get_shape(), default=1))
        for op in module.walk()
        if isinstance(op, graph.WeightOp) and isinstance(op.result.type, TensorType)
    ]
    return max([ELEMENTWISE_TERMS, *sizes])


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
        what=what,
    )


@dataclass
class SemanticsCheck(Observer):
    """`--check-semantics`: every pass is held to its meaning. Passes that declare none (xDSL's) are held to `exact`."""

    ctx: StepwellContext
    seed: int = 0
    inputs: dict[str, Array] = field(default_factory=dict, init=False)
    results: dict[str, Array] = field(default_factory=dict, init=False)
    terms: int = field(default=ELEMENTWISE_TERMS, init=False)

    def before(self, step: int, pass_: ModulePass, module: ModuleOp) -> None:
        if step:
            return
        self.inputs = signature_of(module).random_inputs(self.seed)
        self.results = interpret(module, self.inputs, weights=self.ctx.weights)
        self.terms = longest_sum(module)

    def after(self, step: int, pass_: ModulePass, module: ModuleOp, seconds: float) -> None:
        results = interpret(module, self.inputs, weights=self.ctx.weights)
        declared: Meaning = pass_.meaning if isinstance(pass_, StepwellPass) else "exact"
        rtol = pass_.rtol if isinstance(pass_, StepwellPass) else 0.0
        assert_same_results(self.results, results, declared, rtol=rtol, terms=self.terms, what=pass_.name)
        self.results = results
