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
Bodies of tile.map are expanded, those of linalg.generic in a tile.loops, and those of tile.parallel. A conversion from f64 to f16 or bf16,
which has no instruction either, goes through f32; arithmetic on bf16 is done in f32.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar

from xdsl.builder import Builder
from xdsl.context import Context
from xdsl.dialects import arith, math, scf
from xdsl.dialects.builtin import BFloat16Type, Float16Type, Float32Type, Float64Type, ModuleOp, f32, f64
from xdsl.dialects.linalg.ops import GenericOp
from xdsl.ir import Operation, SSAValue
from xdsl.rewriter import InsertPoint

from stepwell.dialects import tile
from stepwell.passes import Meaning, StepwellPass, inherit_location, names_of, remarks_of
from stepwell.passes.remarks import Remark
from stepwell.transforms.tile import _bfloat
from stepwell.transforms.tile import _polynomials as single
from stepwell.transforms.tile import _polynomials_f64 as double
from stepwell.transforms.tile._logarithm import log
from stepwell.transforms.tile._scalars import Scalars

NAME = "tile-expand-math"
Expansion = Callable[[Scalars, SSAValue], SSAValue]
EXPANSIONS: Mapping[type[Operation], tuple[Expansion, Expansion]] = {
    math.ErfOp: (single.erf, double.erf),
    math.TanhOp: (single.tanh, double.tanh),
    math.ExpOp: (single.exp, double.exp),
    math.LogOp: (log, log),
}
"""Op -> its expansions for f32 and for f64."""


@dataclass(frozen=True)
class ExpandMathPass(StepwellPass):
    """Expand math.erf, math.tanh, math.exp and math.log in the bodies of kernels into polynomials of fma, divf and integer
    arithmetic: the same bits on every target. f32 and f64 results are within 5 units in the last place; 16-bit floats are
    computed in f32, where a result may round the other way (the declared tolerance). Other types stay, with a remark.
    Remarks: passed, missed."""

    name = NAME
    level: ClassVar[str] = "tile"
    meaning: ClassVar[Meaning] = "rounds"
    rtol: ClassVar[float] = 2.0**-10

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        remarks = remarks_of(ctx)
        for inner in _scalar_ops(op):
            if type(inner) not in EXPANSIONS:
                continue
            type_ = inner.operands[0].type
            if not isinstance(type_, Float64Type | Float32Type | Float16Type | BFloat16Type):
                reason = f"{inner.name} of {type_} has no expansion"
                remarks.add(Remark("missed", NAME, names_of(inner), reason, "compute it in f32"))
                continue
            remarks.add(Remark("passed", NAME, names_of(inner), f"{inner.name} expanded"))
            expand(inner)
        for inner in filter(_bfloat.computes, _scalar_ops(op)):
            remarks.add(Remark("passed", NAME, names_of(inner), f"{inner.name} of bf16 is computed in f32"))
            _replace(inner, _bfloat.widened(inner, _scalars(inner, f32)))
        for inner in filter(_narrows_twice, _scalar_ops(op)):
            message = f"the conversion from f64 to {inner.results[0].type} goes through f32"
            remarks.add(Remark("passed", NAME, names_of(inner), message))
            narrow(inner)


def _scalar_ops(module: ModuleOp) -> list[Operation]:
    """The ops in the scalar bodies of kernels."""
    return [op for op in module.walk() if _is_in_kernel(op)]


def _is_in_kernel(op: Operation) -> bool:
    """Whether an op stands in the scalar body of a kernel."""
    parent = op.parent_op()
    while isinstance(parent, scf.ForOp | scf.IfOp):
        parent = parent.parent_op()
    return isinstance(parent, tile.MapOp | GenericOp | tile.ParallelOp)


def _scalars(op: Operation, of: Float32Type | Float64Type) -> Scalars:
    build = Builder(InsertPoint.before(op), operation_insertion_handler=[lambda made: inherit_location(made, op)])
    return Scalars(build, of)


def _replace(op: Operation, value: SSAValue) -> None:
    op.results[0].replace_all_uses_with(value)
    op.detach()
    op.erase()


def expand(op: Operation) -> None:
    """Replace one op by its expansion, in f64 for f64 and in f32 for all else."""
    x, type_ = op.operands[0], op.operands[0].type
    in_single, in_double = EXPANSIONS[type(op)]
    if isinstance(type_, Float64Type):
        _replace(op, in_double(_scalars(op, f64), x))
        return
    scalars = _scalars(op, f32)
    narrow = not isinstance(type_, Float32Type)
    value = in_single(scalars, scalars.op(arith.ExtFOp(x, f32)) if narrow else x)
    _replace(op, scalars.op(arith.TruncFOp(value, type_)) if narrow else value)


def _narrows_twice(op: Operation) -> bool:
    if not isinstance(op, arith.TruncFOp) or not isinstance(op.operands[0].type, Float64Type):
        return False
    return isinstance(op.results[0].type, Float16Type | BFloat16Type)


def narrow(op: Operation) -> None:
    """f64 to f16 or bf16 by way of f32 rounded to odd, so that the second rounding is that of the first value (Boldo and Melquiond, "Emulation of
    FMA and correctly rounded sums", 2008): toward zero, and the last bit set where anything was lost."""
    x = op.operands[0]
    s, wide = _scalars(op, f32), _scalars(op, f64)
    nearest = s.op(arith.TruncFOp(x, f32))
    back = wide.op(arith.ExtFOp(nearest, f64))
    beyond = wide.compare(wide.op(math.AbsFOp(back)), "ogt", wide.op(math.AbsFOp(x)))
    bits = s.to_bits(nearest)
    toward_zero = s.select(beyond, s.subtract(bits, s.integer(1)), bits)
    odd = s.op(arith.OrIOp(toward_zero, s.integer(1)))
    rounded = s.from_bits(s.select(wide.compare(back, "une", x), odd, bits))
    _replace(op, s.op(arith.TruncFOp(rounded, op.results[0].type)))


PASS = ExpandMathPass
