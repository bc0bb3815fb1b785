"""stepwell-convert-scf-to-cf: xDSL's `convert-scf-to-cf`, with the source names kept on the branches that it makes (meaning: exact).

scf.for %i = %lb to %ub step %s iter_args(%c = %z) ...  ->   cf.br ^head(%lb, %z) ... ^head(%i, %c): cmpi slt; cf.cond_br ...
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from xdsl.builder import BuilderListener
from xdsl.context import Context
from xdsl.dialects import scf
from xdsl.dialects.builtin import LocationAttr, ModuleOp, UnknownLoc
from xdsl.ir import Operation
from xdsl.pattern_rewriter import PatternRewriter, PatternRewriteWalker, RewritePattern
from xdsl.transforms.convert_scf_to_cf import ForLowering, IfLowering, SwitchLowering

from stepwell.passes import StepwellPass

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
        PatternRewriteWalker(_WithLocation()).rewrite_module(op)


PASS = ConvertScfToCf
