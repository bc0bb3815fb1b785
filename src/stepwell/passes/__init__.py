"""The kit for pass authors: the context with remarks and weights, pass base classes, the `@rewrite` decorator, locations, weights.

A pass is a frozen dataclass derived from `StepwellPass` (or made by `@rewrite`): it has a name, the level it works on and a declared meaning,
and may be used by plain xDSL tools too (remarks are then dropped, and a pass that needs weight values refuses).
"""

from __future__ import annotations

from stepwell.ir.locations import fuse_locations, inherit_location, location_of, names_of
from stepwell.passes.base import MEANINGS, Meaning, PassFailure, StepwellContext, StepwellPass, remarks_of
from stepwell.passes.rewriting import REWRITE_LIMIT, REWRITES_EACH, REWRITES_PER_OP, SWEEP_LIMIT, Rewriter, rewrite
from stepwell.passes.weights import add_weight, read_weight

__all__ = [
    "MEANINGS",
    "REWRITES_EACH",
    "REWRITES_PER_OP",
    "REWRITE_LIMIT",
    "SWEEP_LIMIT",
    "Meaning",
    "PassFailure",
    "Rewriter",
    "StepwellContext",
    "StepwellPass",
    "add_weight",
    "fuse_locations",
    "inherit_location",
    "location_of",
    "names_of",
    "read_weight",
    "remarks_of",
    "rewrite",
]
