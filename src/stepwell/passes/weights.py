"""Values in passes: reading those that a module refers to, and adding new ones.

A weight that a pass adds is called after its contents, `NAME#` and the first 12 digits of its sha256: the same values get the same name in every
run, different ones never share one, and nothing can make them up (`random:SEED` refuses such a name when it does not hold it).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from xdsl.context import Context
from xdsl.ir import Operation

from stepwell.passes.base import PassFailure, StepwellContext
from stepwell.runtime.errors import ModelError

if TYPE_CHECKING:
    from stepwell.dialects.graph import WeightAttr
    from stepwell.dialects.numpy_types import Array

HINT = "--weights FILE.safetensors | random:SEED; in Python a StepwellContext with weights"


def read_weight(ctx: Context, ref: WeightAttr, *, op: Operation | None = None) -> Array:
    """The values of `ref` after all steps of its recipe, contiguous and not to be written to. PassFailure, at `op`, where the context has no
    weights or not this one."""
    store = ctx.weights if isinstance(ctx, StepwellContext) else None
    if store is None:
        raise PassFailure(f"the values of weight '{ref.source.data}' are needed and none were given", op=op, hint=HINT)
    try:
        return store.evaluate(ref)
    except ModelError as error:
        raise PassFailure(error.message, where=error.where, hint=error.hint) from error


def add_weight(ctx: Context, array: Array, name: str, *, op: Operation | None = None) -> WeightAttr:
    """Store `array` as a new weight called `name#HASH` and return its reference. PassFailure for an element type that the IR lacks, and for
    a plain xDSL context, which would lose the values."""
    from stepwell.dialects.weights import WeightStore

    if not isinstance(ctx, StepwellContext):
        raise PassFailure(
            f"there is nowhere to keep the values of the new weight '{name}'", op=op, hint="use stepwell-opt"
        )
    if ctx.weights is None:
        ctx.weights = WeightStore()
    try:
        return ctx.weights.add_by_content(name, array)
    except ModelError as error:
        raise PassFailure(error.message, where=error.where, hint=error.hint) from error
