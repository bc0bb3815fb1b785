"""stepwell-convert-scf-to-cf: xDSL's `convert-scf-to-cf`, with the source names kept on the branches that it makes (meaning: exact).

scf.for %i = %lb to %ub step %s iter_args(%c = %z) ...  ->   cf.br ^head(%lb, %z) ... ^head(%i, %c): cmpi slt; cf.cond_br ...
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import ClassVar

from xdsl.builder import BuilderListener
from xdsl.context import Context
from xdsl.dialects import scf
from xdsl.dialects.builtin import LocationAttr, ModuleOp, UnknownLoc
from xdsl.ir import Operation
from xdsl.pattern_rewriter import PatternRewriter, PatternRewriteWalker, RewritePattern
from xdsl.transforms.convert_scf_to_cf import ForLowering, IfLowering, SwitchLowering

from stepwell.passes import PassFailure, StepwellPass, names_of, remarks_of
from stepwell.passes.remarks import Remark

_PATTERNS: dict[type[Operation], RewritePattern] = {
    scf.ForOp: ForLowering(),
    scf.IfOp: IfLowering(),
    scf.IndexSwitchOp: SwitchLowering(),
}


class _WithLocation(RewritePattern):
    """Run xDSL's pattern for the op; what it inserts without a location gets the op's."""

    def match_and_rewrite(self, op: Operation, rewriter: PatternRewriter, /) -> None:
        pattern = _PATTERNS.get(type(op))
        if pattern is None:
            return
        location: LocationAttr = op.location

        def name(new: Operation) -> None:
            if isinstance(new.location, UnknownLoc):
                new.location = location

        rewriter.extend_from_listener(BuilderListener(operation_insertion_handler=[name]))
        pattern.match_and_rewrite(op, rewriter)


@dataclass(frozen=True)
class ConvertScfToCf(StepwellPass):
    """Turn structured loops and conditions into blocks and branches; loop-carried vectors become block arguments."""

    name = "stepwell-convert-scf-to-cf"
    level: ClassVar[str] = "kernel"
    meaning = "exact"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        structured = [
            inner for inner in op.walk() if inner.name.startswith("scf.") and not isinstance(inner, scf.YieldOp)
        ]
        for inner in structured:
            if type(inner) not in _PATTERNS:
                hint = f"use {', '.join(known.name for known in _PATTERNS)}"
                raise PassFailure(f"{inner.name}: has no form by branches here", op=inner, hint=hint)
        counts = Counter(names_of(inner) for inner in structured)
        PatternRewriteWalker(_WithLocation()).rewrite_module(op)
        for names, count in counts.items():
            remarks_of(ctx).add(Remark("analysis", self.name, names, f"{count} loops and conditions became branches"))


PASS = ConvertScfToCf
