"""The kit for pass authors: the context with remarks and weights, pass base classes, the `@rewrite` decorator, locations.

A pass is a frozen dataclass derived from `StepwellPass` (or made by `@rewrite`): it has a name, the level it works on and a declared meaning,
and may be used by plain xDSL tools too (remarks are then dropped, and a pass that needs weight values refuses).
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, make_dataclass
from dataclasses import field as option
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeVar, cast, get_type_hints

from xdsl.builder import BuilderListener
from xdsl.context import Context
from xdsl.dialects.builtin import ArrayAttr, FusedLoc, LocationAttr, ModuleOp, NameLoc, NoneAttr, StringAttr, UnknownLoc
from xdsl.ir import Operation, SSAValue
from xdsl.passes import ModulePass
from xdsl.pattern_rewriter import PatternRewriter, PatternRewriteWalker, RewritePattern
from xdsl.rewriter import InsertPoint

from stepwell.remarks import Kind, Remark, RemarkCollector
from stepwell.runtime.errors import StepwellError

if TYPE_CHECKING:
    from stepwell.frontends.weights import WeightStore

Meaning = Literal["exact", "reassociates", "rounds", "changes"]
"""exact: bit-identical; reassociates: within a bound from float64 and the reduction length; rounds: within a declared tolerance; changes: computes something else."""


@dataclass
class StepwellContext(Context):
    """xDSL's context with what Stepwell's passes report to and read from."""

    remarks: RemarkCollector = field(default_factory=RemarkCollector)
    weights: WeightStore | None = None

    def clone(self) -> StepwellContext:
        """A copy whose registrations are independent; remarks and weights are shared."""
        plain = super().clone()
        return StepwellContext(**vars(plain), remarks=self.remarks, weights=self.weights)


def remarks_of(ctx: Context) -> RemarkCollector:
    """The collector of `ctx`; for a plain xDSL context a collector that nobody reads."""
    return ctx.remarks if isinstance(ctx, StepwellContext) else RemarkCollector()


@dataclass(frozen=True)
class StepwellPass(ModulePass):
    """Base of every pass: `level` is where it runs (`also` on these), `meaning` what it may do to results, `rtol` the bound of `rounds`."""

    level: ClassVar[str]
    also: ClassVar[tuple[str, ...]] = ()
    meaning: ClassVar[Meaning]
    rtol: ClassVar[float] = 0.0
    idempotent: ClassVar[bool] = True


# --- locations


def names_of(op: Operation) -> tuple[str, ...]:
    """The source node names in the op's location, in order, without repeats."""
    return tuple(dict.fromkeys(_location_names(op.location)))


def _location_names(location: LocationAttr) -> Iterable[str]:
    match location:
        case NameLoc():
            yield location.desc.data
        case FusedLoc():
            for part in cast(ArrayAttr[LocationAttr], location.locations):
                yield from _location_names(part)


def location_of(names: Iterable[str]) -> LocationAttr:
    """A location that carries these source names: NameLoc for one, FusedLoc for several, UnknownLoc for none."""
    unique = [NameLoc(StringAttr(name), NoneAttr()) for name in dict.fromkeys(names)]
    if not unique:
        return UnknownLoc()
    return unique[0] if len(unique) == 1 else FusedLoc(ArrayAttr(unique), NoneAttr())


def fuse_locations(ops: Iterable[Operation]) -> LocationAttr:
    """One location with all source names of `ops`."""
    return location_of(name for op in ops for name in names_of(op))


def inherit_location(new: Operation, *sources: Operation) -> None:
    """Give `new`, and every op inside it that has no name, the source names of `sources`."""
    location = fuse_locations(sources)
    for op in new.walk():
        if isinstance(op.location, UnknownLoc):
            op.location = location


class PassFailure(StepwellError):
    """A pass refuses: the IR is left as it was before the pass (exit 3). With `op` the message names its source nodes."""

    exit_code = 3

    def __init__(self, message: str, *, where: str = "", hint: str = "", op: Operation | None = None) -> None:
        super().__init__(message, where=where or (" + ".join(names_of(op)) if op is not None else ""), hint=hint)
        self.op = op


# --- rewriting


OpT = TypeVar("OpT", bound=Operation)


class Rewriter:
    """What a rewrite function gets: xDSL's rewriter (as `.xdsl`), replacement that keeps source names, and remarks on the matched op."""

    def __init__(self, op: Operation, xdsl: PatternRewriter, pass_name: str, remarks: RemarkCollector) -> None:
        self.op, self.xdsl, self.pass_name, self.remarks = op, xdsl, pass_name, remarks
        self.names = names_of(op)

    def replace(
        self, op: Operation, new: Operation | Sequence[Operation], results: Sequence[SSAValue | None] | None = None
    ) -> None:
        """Replace `op` by `new`; uses of its results go to `results` (default: the last new op's)."""
        ops = [new] if isinstance(new, Operation) else list(new)
        for made in ops:
            inherit_location(made, op, self.op)
        self.xdsl.replace(op, ops, results)

    def insert_before(self, op: Operation, *new: Operation) -> None:
        """Insert `new` before `op`, with its source names."""
        for made in new:
            inherit_location(made, op)
        self.xdsl.insert(list(new), InsertPoint.before(op))

    def erase(self, op: Operation) -> None:
        """Remove `op`, whose results must be unused."""
        self.xdsl.erase(op)

    def passed(self, message: str) -> None:
        """Say what the pass did here."""
        self._remark("passed", message)

    def missed(self, reason: str, hint: str = "") -> None:
        """Say why the pass did nothing here, and what would change that."""
        self._remark("missed", reason, hint)

    def analysis(self, finding: str) -> None:
        """Say what the pass found out here."""
        self._remark("analysis", finding)

    def _remark(self, kind: Kind, message: str, hint: str = "") -> None:
        self.remarks.add(Remark(kind, self.pass_name, self.names, message, hint))


RewriteFunction = Callable[..., None]


@dataclass
class _FunctionPattern(RewritePattern):
    """Calls a rewrite function on every op of one class; new ops without a name inherit the matched op's."""

    function: RewriteFunction
    op_class: type[Operation]
    pass_name: str
    options: dict[str, Any]
    remarks: RemarkCollector
    limit: int
    rewrites: int = 0

    def match_and_rewrite(self, op: Operation, rewriter: PatternRewriter, /) -> None:
        if not isinstance(op, self.op_class):
            return
        names_from = op.location
        listener = BuilderListener(operation_insertion_handler=[lambda new: _name_if_unknown(new, names_from)])
        rewriter.extend_from_listener(listener)
        self.function(op, Rewriter(op, rewriter, self.pass_name, self.remarks), **self.options)
        if not rewriter.has_done_action:
            return
        self.rewrites += 1
        if self.rewrites > self.limit:
            raise PassFailure(
                f"{self.pass_name} rewrote more than {self.limit} ops: it does not end", where=" + ".join(names_of(op))
            )


def _name_if_unknown(op: Operation, location: LocationAttr) -> None:
    for inner in op.walk():
        if isinstance(inner.location, UnknownLoc):
            inner.location = location


def run_pattern(module: ModuleOp, pattern: RewritePattern, *, recursive: bool = True) -> bool:
    """Apply `pattern` greedily over `module`; True when something changed."""
    return PatternRewriteWalker(pattern, apply_recursively=recursive).rewrite_module(module)


@contextmanager
def _unchanged_by_refusal(module: ModuleOp) -> Iterator[None]:
    """Put the module back as it was when the block raises."""
    saved = module.clone()
    try:
        yield
    except Exception:
        module.detach_region(0)
        module.add_region(saved.detach_region(0))
        module.attributes = saved.attributes
        raise


REWRITE_LIMIT = 100_000


def rewrite(
    name: str, *, level: str, meaning: Meaning, rtol: float = 0.0, idempotent: bool = True, recursive: bool = True
) -> Callable[[RewriteFunction], type[StepwellPass]]:
    """Make a pass from a function `(op: SomeOp, rewriter: Rewriter, *, option=default, ...)`: the typed first argument says which
    ops it is called on, the keyword-only options become the pass's options, the docstring its documentation."""

    def decorate(function: RewriteFunction) -> type[StepwellPass]:
        parameters = inspect.signature(function).parameters
        hints = get_type_hints(function)
        op_class = hints[next(iter(parameters))]
        fields = [
            (p.name, hints[p.name], option(default=p.default))
            for p in parameters.values()
            if p.kind is inspect.Parameter.KEYWORD_ONLY
        ]

        def apply(self: StepwellPass, ctx: Context, op: ModuleOp) -> None:
            options = {key: getattr(self, key) for key, _, _ in fields}
            pattern = _FunctionPattern(function, op_class, name, options, remarks_of(ctx), REWRITE_LIMIT)
            with _unchanged_by_refusal(op):
                run_pattern(op, pattern, recursive=recursive)

        namespace = {
            "name": name,
            "level": level,
            "meaning": meaning,
            "rtol": rtol,
            "idempotent": idempotent,
            "apply": apply,
            "__doc__": function.__doc__,
            "rewrite_function": staticmethod(function),
        }
        title = "".join(part.capitalize() for part in name.split("-")) + "Pass"
        made = make_dataclass(title, fields, bases=(StepwellPass,), namespace=namespace, frozen=True)
        made.__module__ = function.__module__  # from Python 3.12 on, make_dataclass writes its caller's
        return made

    return decorate
