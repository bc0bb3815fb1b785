"""`tile-expand-math`: functions without an instruction become arithmetic.

```mlir
%o = tile.map (%p = %acc) {
  %1 = math.erf %p : f32
  tile.yield %1
} : !tile.tile<64x8xf32, regs>
```
becomes
```mlir
%o = tile.map (%p = %acc) {
  %low = arith.constant -3.92 : f32
  %1 = arith.maximumf %p, %low : f32
  ...                                        // clamp, square, two polynomials by math.fma
  %n = arith.divf %scaled, %q : f32
  tile.yield %n
} : !tile.tile<64x8xf32, regs>
```
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar

from xdsl.builder import Builder
from xdsl.context import Context
from xdsl.dialects import arith, math
from xdsl.dialects.builtin import BFloat16Type, Float16Type, Float32Type, ModuleOp, f32
from xdsl.ir import Operation, SSAValue
from xdsl.rewriter import InsertPoint

from stepwell.dialects import tile
from stepwell.passes import Meaning, StepwellPass, inherit_location, names_of, remarks_of
from stepwell.remarks import Remark
from stepwell.transforms.tile._polynomials import Scalars, erf, exp, tanh

NAME = "tile-expand-math"
EXPANSIONS: Mapping[type[Operation], Callable[[Scalars, SSAValue], SSAValue]] = {
    math.ErfOp: erf,
    math.TanhOp: tanh,
    math.ExpOp: exp,
}


@dataclass(frozen=True)
class ExpandMathPass(StepwellPass):
    """Expand math.erf, math.tanh and math.exp in the bodies of tile.map into clamped polynomials of fma, divf and
    integer shifts: the same bits on every target. f32 results are within 5 units in the last place; 16-bit floats are
    computed in f32, where a result may round the other way (the declared tolerance). f64 stays, with a remark. Remarks:
    passed, missed."""

    name = NAME
    level: ClassVar[str] = "tile"
    meaning: ClassVar[Meaning] = "rounds"
    rtol: ClassVar[float] = 2.0**-10

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        remarks = remarks_of(ctx)
        for inner in [o for o in op.walk() if type(o) in EXPANSIONS and isinstance(o.parent_op(), tile.MapOp)]:
            type_ = inner.operands[0].type
            if not isinstance(type_, Float32Type | Float16Type | BFloat16Type):
                reason = f"{inner.name} of {type_} has no expansion"
                remarks.add(Remark("missed", NAME, names_of(inner), reason, "compute it in f32"))
                continue
            remarks.add(Remark("passed", NAME, names_of(inner), f"{inner.name} expanded"))
            expand(inner)


def expand(op: Operation) -> None:
    """Replace one op by its expansion, in f32."""
    build = Builder(InsertPoint.before(op), operation_insertion_handler=[lambda made: inherit_location(made, op)])
    scalars, x, type_ = Scalars(build), op.operands[0], op.operands[0].type
    narrow = not isinstance(type_, Float32Type)
    value = EXPANSIONS[type(op)](scalars, scalars.op(arith.ExtFOp(x, f32)) if narrow else x)
    op.results[0].replace_all_uses_with(scalars.op(arith.TruncFOp(value, type_)) if narrow else value)
    op.detach()
    op.erase()


PASS = ExpandMathPass
