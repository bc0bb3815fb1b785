"""`check_pass`: everything that holds for every pass, checked on a module of its level."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from xdsl.dialects.builtin import ModuleOp
from xdsl.passes import ModulePass

from stepwell.driver import passes_of
from stepwell.execute import NotExecutable
from stepwell.levels import LEVELS, check_level, level_of, op_name, strangers
from stepwell.passes import StepwellContext, StepwellPass, names_of
from stepwell.printing import module_text
from stepwell.remarks import Remark
from stepwell.runtime.errors import StepwellError
from stepwell.semantics import assert_same_meaning
from stepwell.signature import signature_of
from stepwell.source import SourceMap, parse_text
from stepwell.universe import make_context


@dataclass(frozen=True)
class PassReport:
    """What `check_pass` saw on one module."""

    pass_name: str
    changed: bool
    refusal: str
    remarks: tuple[Remark, ...]
    properties: tuple[str, ...]


def check_pass(
    pass_: str | ModulePass,
    modules: ModuleOp | Iterable[ModuleOp],
    ctx: StepwellContext | None = None,
    *,
    seed: int = 0,
) -> list[PassReport]:
    """Apply the pass to each module (the modules stay as they are) and raise AssertionError for the first property that does not hold.

    The properties: the result verifies; it is the same in a second run; it survives a round trip through both syntaxes; a second
    application changes nothing, where the pass says that it is idempotent; no op loses its source names and no name is invented; the result is
    at a level that the ladder knows; it means what the pass's `meaning` says (executed with inputs made from `seed`; ctx.weights
    holds the values; where this machine can execute the result); or else the pass refuses with a reason, and then the module is as it was.
    """
    made = passes_of(pass_)[0] if isinstance(pass_, str) else pass_
    listed = [modules] if isinstance(modules, ModuleOp) else list(modules)
    return [_Check(made, module, ctx or make_context(), seed).run() for module in listed]


@dataclass
class _Check:
    """One pass on one module."""

    pass_: ModulePass
    module: ModuleOp
    ctx: StepwellContext
    seed: int

    def run(self) -> PassReport:
        self.module.verify()
        seen = len(self.ctx.remarks)
        before = module_text(self.module)
        after = self.module.clone()
        try:
            self.pass_.apply(self.ctx, after)
        except StepwellError as refusal:
            assert module_text(after) == before, f"{self.pass_.name} refused ({refusal}) but changed the module"
            return PassReport(self.pass_.name, False, str(refusal), self.remarks(seen), ("refuses cleanly",))
        held = []
        for name, holds in self.properties(after):
            try:
                holds()
            except NotExecutable:  # this machine cannot run the module: a property less is reported
                continue
            held.append(name)
        return PassReport(self.pass_.name, module_text(after) != before, "", self.remarks(seen), tuple(held))

    def remarks(self, seen: int) -> tuple[Remark, ...]:
        return tuple(self.ctx.remarks.remarks[seen:])

    def properties(self, after: ModuleOp) -> list[tuple[str, Callable[[], None]]]:
        found: list[tuple[str, Callable[[], None]]] = [
            ("verifies", after.verify),
            ("deterministic", lambda: self.deterministic(after)),
            ("round trip", lambda: self.round_trip(after)),
            ("source names", lambda: self.source_names(after)),
            ("level", lambda: self.level(after)),
        ]
        if not isinstance(self.pass_, StepwellPass):
            return found
        if self.pass_.idempotent and level_of(after) == level_of(self.module):
            found.append(("idempotent", lambda: self.idempotent(after)))
        found.append((f"meaning: {self.pass_.meaning}", lambda: self.meaning(after)))
        return found

    def deterministic(self, after: ModuleOp) -> None:
        again = self.module.clone()
        self.pass_.apply(self.ctx, again)
        assert module_text(again) == module_text(after), f"{self.pass_.name}: two runs differ"

    def idempotent(self, after: ModuleOp) -> None:
        again = after.clone()
        self.pass_.apply(self.ctx, again)
        assert module_text(again) == module_text(after), f"{self.pass_.name}: a second application changes the module"

    def round_trip(self, after: ModuleOp) -> None:
        for generic in (False, True):
            text = module_text(after, generic=generic)
            read = parse_text(make_context(), text, SourceMap(f"after {self.pass_.name}"))
            read.verify()
            assert module_text(read, generic=generic) == text, f"{self.pass_.name}: text does not survive a round trip"

    def level(self, after: ModuleOp) -> None:
        """A lowering may leave a part for the next: then the module stays at its level and holds ops of the one below too."""
        level = level_of(after)
        below = LEVELS[min(LEVELS.index(level) + 1, len(LEVELS) - 1)]
        foreign = sorted({op_name(op) for op in strangers(after, level, below)})
        assert not foreign, f"{self.pass_.name}: the module says '{level}' but holds {', '.join(foreign)}"
        if level != level_of(self.module):
            check_level(after, level)

    def source_names(self, after: ModuleOp) -> None:
        known = source_names(self.module)
        nameless = [op_name(op) for op in after.walk() if _needs_name(op_name(op)) and not names_of(op)]
        before = [op_name(op) for op in self.module.walk() if _needs_name(op_name(op)) and not names_of(op)]
        assert before or not nameless, f"{self.pass_.name}: without source names: {', '.join(sorted(set(nameless)))}"
        invented = {name for op in after.walk() for name in names_of(op)} - known
        assert not invented, f"{self.pass_.name}: invented source names: {', '.join(sorted(invented))}"

    def meaning(self, after: ModuleOp) -> None:
        assert isinstance(self.pass_, StepwellPass)
        assert_same_meaning(
            self.module,
            after,
            seed=self.seed,
            meaning=self.pass_.meaning,
            rtol=self.pass_.rtol,
            weights=self.ctx.weights,
            what=self.pass_.name,
        )


STRUCTURE = frozenset({"builtin.module", "func.func", "func.return", "plan.program"})
"""Ops that stand for no node of the network."""


def source_names(module: ModuleOp) -> set[str]:
    """Every name that a location in the module may carry: those of its ops, and the network's inputs and outputs."""
    signature = signature_of(module)
    ports = {port.name for port in (*signature.inputs, *signature.outputs)}
    return ports | {name for op in module.walk() for name in names_of(op)}


def _needs_name(name: str) -> bool:
    return name not in STRUCTURE
