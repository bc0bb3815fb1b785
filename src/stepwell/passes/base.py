"""What every pass is made of: the context that it reads from and reports to, its base class, its refusal."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, Literal, get_args

from xdsl.context import Context
from xdsl.ir import Operation
from xdsl.passes import ModulePass

from stepwell.ir.locations import names_of
from stepwell.passes.levels import LEVELS
from stepwell.passes.remarks import RemarkCollector
from stepwell.runtime.errors import StepwellError, UsageError

if TYPE_CHECKING:
    from stepwell.dialects.weights import WeightStore

Meaning = Literal["exact", "reassociates", "rounds", "changes"]
"""exact: bit-identical; reassociates: within a bound from float64 and the reduction length; rounds: within a declared tolerance; changes: computes something else."""
MEANINGS: tuple[Meaning, ...] = get_args(Meaning)
"""From strict to loose."""


@dataclass
class StepwellContext(Context):
    """xDSL's context with what Stepwell's passes report to (`remarks`) and take values from and add them to (`weights`)."""

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
    """Base of every pass: `level` is where it runs (`also` on these), `meaning` what it may do to results, `rtol` the bound of `rounds`,
    `idempotent` whether a second application changes nothing. A class that declares an unknown level or meaning is refused where it is made."""

    level: ClassVar[str]
    also: ClassVar[tuple[str, ...]] = ()
    meaning: ClassVar[Meaning]
    rtol: ClassVar[float] = 0.0
    idempotent: ClassVar[bool] = True

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        declared = vars(cls)
        if "level" in declared or "meaning" in declared:
            check_declaration(declared.get("name", cls.__name__), cls.level, cls.meaning, cls.rtol, cls.also)


def check_declaration(name: str, level: str, meaning: str, rtol: float = 0.0, also: tuple[str, ...] = ()) -> None:
    """A UsageError that names the pass when it declares a level or a meaning that there is not, or a tolerance that is none."""
    unknown = next((said for said in (level, *also) if said not in LEVELS), None)
    if unknown is not None:
        raise UsageError(f"level={unknown!r} is no level", where=name, hint=f"it is one of {', '.join(LEVELS)}")
    if meaning not in MEANINGS:
        raise UsageError(f"meaning={meaning!r} is no meaning", where=name, hint=f"it is one of {', '.join(MEANINGS)}")
    if meaning == "rounds" and not rtol > 0:
        raise UsageError(
            f"a pass that rounds says how much: rtol={rtol!r} is no tolerance", where=name, hint="rtol=1e-3"
        )
    if meaning != "rounds" and rtol:
        raise UsageError(f"rtol={rtol!r} is for meaning='rounds', the meaning is {meaning!r}", where=name)


class PassFailure(StepwellError):
    """A pass refuses: the IR is left as it was before the pass (exit 3). With `op` the message names its source nodes."""

    exit_code = 3

    def __init__(self, message: str, *, where: str = "", hint: str = "", op: Operation | None = None) -> None:
        super().__init__(message, where=where or (" + ".join(names_of(op)) if op is not None else ""), hint=hint)
        self.op = op
