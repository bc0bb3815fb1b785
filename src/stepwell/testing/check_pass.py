"""`check_pass`: everything that holds for every pass, checked on a module of its level."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike
from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import Operation
from xdsl.passes import ModulePass
from xdsl.utils.exceptions import PassFailedException, VerifyException

from stepwell.driver.driver import check_pass_level, passes_of
from stepwell.driver.execute import NotExecutable, interpret
from stepwell.driver.meaning import difference
from stepwell.driver.modules import weights_of
from stepwell.driver.semantics import assert_same_meaning
from stepwell.driver.signature import Array, signature_of
from stepwell.ir.locations import op_name
from stepwell.ir.printing import module_text
from stepwell.ir.source import SourceMap, parse_text
from stepwell.passes import StepwellContext, StepwellPass, names_of
from stepwell.passes.levels import LEVELS, check_level, level_of, strangers
from stepwell.passes.remarks import Remark
from stepwell.plugins.universe import make_context
from stepwell.runtime.errors import ComparisonError, InternalError, ModelError, StepwellError
from stepwell.testing.activity import tell
from stepwell.testing.name_flow import flow_of, misplaced

Reference = Callable[[dict[str, Array]], Mapping[str, ArrayLike]]
"""What a network computes after a pass that changes it: arrays by input name to arrays by output name."""


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
    reference: Reference | None = None,
    rtol: float = 1e-5,
) -> list[PassReport]:
    """Apply the pass to each module (the modules stay as they are) and raise AssertionError for the first property that does not hold. The
    report lists the properties that were checked.

    The properties: the result verifies; it is the same in a second run; it survives a round trip through both syntaxes; a second
    application changes nothing, where the pass says that it is idempotent; no op loses its source names and no name is invented; new ops carry the names of what they
    stand among (graph and linalg); the result is at a level that the ladder knows; it means what the pass's `meaning` says, unless that is `changes`
    (executed with inputs made from `seed`, where this machine can execute the result); it gives what `reference` gives for those inputs, arrays
    by name, within `rtol` of the largest result (for a pass that changes what the network computes); or else the pass refuses with a reason,
    and then the module is as it was.

    Weights are those of `ctx`, else the module's own (`import_model` keeps them with it). UsageError for a module that is not at the pass's level."""
    made = passes_of(pass_)[0] if isinstance(pass_, str) else pass_
    listed = [modules] if isinstance(modules, ModuleOp) else list(modules)
    for module in listed:
        check_pass_level(made, module)
    reports = [_Check(made, module, _context(ctx, module), seed, reference, rtol).run() for module in listed]
    for report in reports:
        tell(report.pass_name, report.changed)
    return reports


def _context(given: StepwellContext | None, module: ModuleOp) -> StepwellContext:
    """The context that the pass gets: the given one, with the module's own weights where it has none."""
    if given is None:
        return make_context(weights_of(module))
    if given.weights is None and weights_of(module) is not None:
        return replace(given, weights=weights_of(module))
    return given


@dataclass
class _Check:
    """One pass on one module."""

    pass_: ModulePass
    module: ModuleOp
    ctx: StepwellContext
    seed: int
    reference: Reference | None
    rtol: float

    def run(self) -> PassReport:
        self.module.verify()
        seen = len(self.ctx.remarks)
        before = module_text(self.module)
        after = self.module.clone()
        old = set(after.walk())
        try:
            self.pass_.apply(self.ctx, after)
        except (StepwellError, PassFailedException) as refusal:
            if isinstance(refusal, InternalError):
                raise
            assert module_text(after) == before, f"{self.pass_.name} refused ({refusal}) but changed the module"
            return PassReport(self.pass_.name, False, str(refusal), self.remarks(seen), ("refuses cleanly",))
        held = []
        for name, holds in self.properties(after, old):
            try:
                holds()
            except NotExecutable:  # this machine cannot run the module: a property less is reported
                continue
            except (VerifyException, ModelError) as error:
                if name not in OF_THE_TEXT:
                    raise
                raise AssertionError(f"{self.pass_.name}: {name}: {error}") from error
            held.append(name)
        return PassReport(self.pass_.name, module_text(after) != before, "", self.remarks(seen), tuple(held))

    def remarks(self, seen: int) -> tuple[Remark, ...]:
        return tuple(self.ctx.remarks.remarks[seen:])

    def properties(self, after: ModuleOp, old: set[Operation]) -> list[tuple[str, Callable[[], None]]]:
        found: list[tuple[str, Callable[[], None]]] = [
            ("verifies", after.verify),
            ("deterministic", lambda: self.deterministic(after)),
            ("round trip", lambda: self.round_trip(after)),
            *self.name_properties(after, old),
            ("level", lambda: self.level(after)),
        ]
        if not isinstance(self.pass_, StepwellPass):
            return found
        if self.pass_.idempotent and level_of(after) == level_of(self.module):
            found.append(("idempotent", lambda: self.idempotent(after)))
        if self.pass_.meaning != "changes":
            found.append((f"meaning: {self.pass_.meaning}", lambda: self.meaning(after)))
        if self.reference is not None:
            found.append(("reference", lambda: self.equals_reference(after)))
        return found

    def name_properties(self, after: ModuleOp, old: set[Operation]) -> list[tuple[str, Callable[[], None]]]:
        if _nameless(self.module):  # what has no name cannot lose it
            return [("no invented names", lambda: self.no_invented_names(after))]
        found = [("source names", lambda: self.names_kept(after))]
        if level_of(after) in NAMES_FLOW and level_of(self.module) in NAMES_FLOW:
            found.append(("source names in place", lambda: self.names_in_place(after, old)))
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

    def names_kept(self, after: ModuleOp) -> None:
        nameless = ", ".join(sorted(set(_nameless(after))))
        assert not nameless, f"{self.pass_.name}: without source names: {nameless}"
        self.no_invented_names(after)

    def no_invented_names(self, after: ModuleOp) -> None:
        invented = {name for op in after.walk() for name in names_of(op)} - source_names(self.module)
        assert not invented, f"{self.pass_.name}: invented source names: {', '.join(sorted(invented))}"

    def names_in_place(self, after: ModuleOp, old: set[Operation]) -> None:
        index: dict[str, int] = {}
        wrong = misplaced(flow_of(self.module, index), flow_of(after, index), old.__contains__)
        assert not wrong, f"{self.pass_.name}: source names of ops elsewhere: {', '.join(wrong)}"

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

    def equals_reference(self, after: ModuleOp) -> None:
        assert self.reference is not None
        inputs = signature_of(self.module).random_inputs(self.seed)
        wanted = {name: np.asarray(array) for name, array in self.reference(inputs).items()}
        given = interpret(after, inputs, weights=self.ctx.weights)
        where = f"{self.pass_.name}, beside its reference"
        if set(wanted) != set(given):
            raise ComparisonError(f"the outputs are {sorted(given)}, the reference gives {sorted(wanted)}", where=where)
        for name, array in wanted.items():
            reason = difference(array, given[name], "rounds", rtol=self.rtol)
            if reason:
                raise ComparisonError(f"output '{name}': {reason}", where=where)


OF_THE_TEXT = ("verifies", "round trip", "level")
"""Properties that a module's own errors are about; elsewhere they are about what the caller gave."""
STRUCTURE = frozenset({"builtin.module", "func.func", "func.return", "plan.program"})
"""Ops that stand for no node of the network."""
NAMES_FLOW = frozenset({"graph", "linalg"})
"""Levels where values are tensors in SSA form, and an op stands among those of its node."""


def source_names(module: ModuleOp) -> set[str]:
    """Every name that a location in the module may carry: those of its ops, and the network's inputs and outputs."""
    signature = signature_of(module)
    ports = {port.name for port in (*signature.inputs, *signature.outputs)}
    return ports | {name for op in module.walk() for name in names_of(op)}


def _nameless(module: ModuleOp) -> list[str]:
    return [op_name(op) for op in module.walk() if op_name(op) not in STRUCTURE and not names_of(op)]
