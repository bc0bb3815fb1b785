"""`@rewrite`: passes from functions on one op, applied greedily by xDSL's walker, with source names, remarks and an end."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, make_dataclass
from dataclasses import field as option
from typing import TYPE_CHECKING, Any, TypeVar, cast, get_args, get_type_hints

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import Operation, Region, SSAValue
from xdsl.pattern_rewriter import PatternRewriter, PatternRewriterListener, PatternRewriteWalker, RewritePattern
from xdsl.rewriter import InsertPoint

from stepwell.ir.locations import inherit_location, name_if_unknown, names_of
from stepwell.passes.base import Meaning, PassFailure, StepwellPass, remarks_of
from stepwell.passes.remarks import Kind, Remark
from stepwell.passes.weights import add_weight, read_weight
from stepwell.runtime.errors import UsageError

if TYPE_CHECKING:
    from stepwell.dialects.graph import WeightAttr, WeightOp
    from stepwell.dialects.numpy_types import Array

T = TypeVar("T")
REWRITE_LIMIT = 100_000
"""Rewrites of one application of a pass, and no less than `REWRITES_EACH` for every op that the module has."""
REWRITES_EACH = 100
REWRITES_PER_OP = 1_000
"""Rewrites of one op and of the ops that were made from it, one after the other, and no less than the module has ops."""
SWEEP_LIMIT = 20
"""Walks over the whole module until nothing changes (MLIR's greedy driver stops after 10)."""
REPORTED_ON_NEW_OPS: tuple[Kind, ...] = ("passed", "failed")
"""What a rewrite may say of an op that it has made itself: what it did, and no reasons for having done nothing more."""


class Rewriter:
    """What a rewrite function gets: replacement, insertion and removal that keep source names, the weights' values, and remarks on the matched
    op. `xdsl` is xDSL's own rewriter: what is inserted through it without a name gets the matched op's."""

    def __init__(self, op: Operation, xdsl: PatternRewriter, ctx: Context, application: _FunctionPattern) -> None:
        self.op, self.xdsl, self.ctx, self._application = op, xdsl, ctx, application
        self.names, self.pass_name = names_of(op), application.pass_name

    def replace(
        self, op: Operation, new: Operation | Sequence[Operation], results: Sequence[SSAValue | None] | None = None
    ) -> None:
        """Replace `op` by `new`, with the source names of `op` and of the matched op; uses of its results go to `results` (default: the
        last new op's)."""
        ops = [new] if isinstance(new, Operation) else list(new)
        for made in ops:
            inherit_location(made, op, self.op)
        self.xdsl.replace(op, ops, results)

    def insert_before(self, op: Operation, *new: Operation) -> None:
        """Insert `new` before `op`, with its source names."""
        for made in new:
            inherit_location(made, op)
        self.xdsl.insert(list(new), InsertPoint.before(op))

    def insert_after(self, op: Operation, *new: Operation) -> None:
        """Insert `new` behind `op`, with its source names."""
        for made in new:
            inherit_location(made, op)
        self.xdsl.insert(list(new), InsertPoint.after(op))

    def erase(self, op: Operation) -> None:
        """Remove `op`, whose results must be unused."""
        self.xdsl.erase(op)

    def read(self, weight: SSAValue | WeightOp | WeightAttr) -> Array:
        """The values of a weight (a `graph.weight`, its result or its reference) after its recipe; not to be written to. PassFailure where the
        context has no values, and for a value that is computed."""
        return read_weight(self.ctx, _reference(weight, self.op), op=self.op)

    def add_weight(self, array: Array, name: str) -> WeightOp:
        """A `graph.weight` with the values `array`, inserted before the matched op. It is called `name#HASH` after its contents, so that the same
        values have the same name in every run. PassFailure for element types that the IR lacks."""
        from stepwell.dialects.graph import WeightOp

        made = WeightOp(add_weight(self.ctx, array, name, op=self.op))
        self.insert_before(self.op, made)
        return made

    def once(self, make: Callable[[ModuleOp], T]) -> T:
        """What `make` gives for the module, made at the first call and shared by all rewrites of this application of the pass: a question
        about the whole module that is asked again for every op takes quadratic time."""
        found = self._application.shared
        if make not in found:
            found[make] = make(self._application.module)
        return cast("T", found[make])

    def passed(self, message: str) -> None:
        """Say what the pass did here."""
        self._remark("passed", message)

    def missed(self, reason: str, hint: str = "") -> None:
        """Say why the pass did nothing here, and what would change that. Left out on ops that the pass has made itself."""
        self._remark("missed", reason, hint)

    def analysis(self, message: str) -> None:
        """Say what the pass found out. Left out on ops that the pass has made itself."""
        self._remark("analysis", message)

    def _remark(self, kind: Kind, message: str, hint: str = "") -> None:
        if self.op in self._application.made and kind not in REPORTED_ON_NEW_OPS:
            return
        remarks_of(self.ctx).add(Remark(kind, self.pass_name, self.names, message, hint))


def _reference(weight: SSAValue | WeightOp | WeightAttr, matched: Operation) -> WeightAttr:
    from stepwell.dialects.graph import WeightAttr, WeightOp

    if isinstance(weight, WeightAttr):
        return weight
    owner = weight.owner if isinstance(weight, SSAValue) else weight
    if isinstance(owner, WeightOp):
        return owner.ref
    raise PassFailure("the value is no weight: it is known only when the network runs", op=matched)


RewriteFunction = Callable[..., None]


@dataclass
class _FunctionPattern(RewritePattern):
    """Calls a rewrite function on every op of one class. `made` holds the new ops, each with the number of rewrites that led to it, and the old
    ones that were changed in place."""

    function: RewriteFunction
    op_class: type[Operation]
    pass_name: str
    options: dict[str, Any]
    ctx: Context
    module: ModuleOp
    size: int
    current: Operation | None = None
    made: dict[Operation, int] = field(default_factory=dict)
    changes: dict[Operation, int] = field(default_factory=dict)
    shared: dict[Callable[[ModuleOp], Any], Any] = field(default_factory=dict)
    rewrites: int = 0
    sweeps: int = 0

    def match_and_rewrite(self, op: Operation, rewriter: PatternRewriter, /) -> None:
        if not isinstance(op, self.op_class):
            return
        self.current = op
        self.function(op, Rewriter(op, rewriter, self.ctx, self), **self.options)
        if rewriter.has_done_action:
            self.count(op)

    def count(self, op: Operation) -> None:
        """Note a rewrite; a PassFailure where they do not come to an end."""
        self.rewrites += 1
        self.changes[op] = self.depth(op) + 1
        most = max(REWRITES_PER_OP, self.size)
        if self.changes[op] > most:
            raise self.endless(f"{most:,} rewrites followed from one op", op)
        if self.rewrites > max(REWRITE_LIMIT, REWRITES_EACH * self.size):
            raise self.endless(f"{self.rewrites - 1:,} ops were rewritten", op)

    def depth(self, op: Operation) -> int:
        """How many rewrites led to the op as it is."""
        return self.changes.get(op, self.made.get(op, 0))

    def name_new(self, new: Operation) -> None:
        """A new op, and what is in it, has the matched op's names where it has none."""
        assert self.current is not None
        name_if_unknown(new, self.current.location)
        depth = self.depth(self.current) + 1
        for inner in new.walk():
            self.made.setdefault(inner, depth)

    def end_sweep(self, region: Region, listener: PatternRewriterListener) -> bool:
        """Note a walk over the module; a PassFailure when there were too many that changed it."""
        self.sweeps += 1
        if self.sweeps > SWEEP_LIMIT and self.current is not None:
            last = next(reversed(self.changes), self.current)
            raise self.endless(f"{SWEEP_LIMIT} walks over the module each changed it", last)
        return False

    def endless(self, reason: str, op: Operation) -> PassFailure:
        where = " + ".join(names_of(op))
        return PassFailure(
            f"{self.pass_name} does not end: {reason}, the last is {op.name}" + (f" ({where})" if where else ""),
            where=where or op.name,
            hint="a rewrite must not match what it makes",
        )

    def apply(self, *, recursive: bool) -> bool:
        """Apply the function over the module; True when something changed."""
        listener = PatternRewriterListener(operation_insertion_handler=[self.name_new])
        walker = PatternRewriteWalker(
            self, apply_recursively=recursive, listener=listener, post_walk_func=self.end_sweep
        )
        return walker.rewrite_module(self.module)


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


def rewrite(
    name: str, *, level: str, meaning: Meaning, rtol: float = 0.0, idempotent: bool = True, recursive: bool = True
) -> Callable[[RewriteFunction], type[StepwellPass]]:
    """Make a pass from a function `(op: SomeOp, rewriter: Rewriter, *, option=default, ...)`: the typed first argument says which
    ops it is called on, the keyword-only options become the pass's options, the docstring its documentation. With `recursive` it is called
    again, also on the ops that it made, until nothing changes. A UsageError, at the decoration, for an unknown level or meaning, a missing tolerance
    of `rounds`, a first argument that is no class of ops, an option without a default."""

    def decorate(function: RewriteFunction) -> type[StepwellPass]:
        parameters = inspect.signature(function).parameters
        hints = get_type_hints(function)
        op_class = _op_class(name, next(iter(parameters), ""), hints)
        fields = [
            (p.name, hints.get(p.name, Any), option(default=p.default))
            for p in parameters.values()
            if p.kind is inspect.Parameter.KEYWORD_ONLY
        ]
        _check_options(name, parameters, hints)

        def apply(self: StepwellPass, ctx: Context, op: ModuleOp) -> None:
            options = {key: getattr(self, key) for key, _, _ in fields}
            size = sum(1 for _ in op.walk())
            with _unchanged_by_refusal(op):
                _FunctionPattern(function, op_class, name, options, ctx, op, size).apply(recursive=recursive)

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


def _op_class(name: str, parameter: str, hints: dict[str, Any]) -> Any:
    """What the first argument's annotation says, a class of ops or a union of some."""
    said = hints.get(parameter)
    classes = get_args(said) or (said,)
    if not all(isinstance(one, type) and issubclass(one, Operation) for one in classes):
        told = f"argument '{parameter}' is annotated with {said}" if parameter else "there is no argument"
        raise UsageError(
            f"the first argument says which ops are rewritten, and {told}", where=name, hint="op: graph.UnaryOp"
        )
    return said


def _check_options(name: str, parameters: Any, hints: dict[str, Any]) -> None:
    for parameter in parameters.values():
        if parameter.kind is not inspect.Parameter.KEYWORD_ONLY:
            continue
        if parameter.default is inspect.Parameter.empty or parameter.name not in hints:
            raise UsageError(
                f"option '{parameter.name}' needs a type and a default", where=name, hint=f"{parameter.name}: int = 0"
            )
