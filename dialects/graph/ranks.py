"""`interpret_ranks`: one module run by several ranks at once, so that `graph.collective` exchanges real tensors."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Condition

import numpy as np
from xdsl.dialects.builtin import ModuleOp

from stepwell.dialects.graph.interpretation import Weights
from stepwell.dialects.graph.interpreter import interpret
from stepwell.dialects.graph.interpreter_reduction import UFUNCS
from stepwell.dialects.graph.ops_extension import CollectiveOp
from stepwell.dialects.numpy_types import Array, is_float_dtype
from stepwell.runtime.errors import ModelError, UsageError


class _Meeting:
    """Where ranks leave their operands and wait for those of their group."""

    def __init__(self) -> None:
        self.changed = Condition()
        self.left: dict[tuple[CollectiveOp, int], dict[int, Array]] = {}
        self.turns: Counter[tuple[CollectiveOp, int]] = Counter()
        self.ended: set[int] = set()

    def exchange(self, rank: int, op: CollectiveOp, operand: Array) -> Array:
        """This rank's result; ModelError when a rank of the group ended without coming."""
        if rank not in op.group:
            raise ModelError(f"rank {rank} runs an exchange of the group {list(op.group)}", where=op.name)
        with self.changed:
            turn = self.turns[op, rank]
            self.turns[op, rank] += 1
            here = self.left.setdefault((op, turn), {})
            here[rank] = operand
            self.changed.notify_all()
            self.changed.wait_for(lambda: set(op.group) <= set(here) or self.ended & (set(op.group) - set(here)))
            missing = sorted(set(op.group) - set(here))
        if missing:
            raise ModelError(f"rank {missing[0]} ended and never came to this exchange", where=op.name)
        return combined(op, [here[each] for each in op.group], op.group.index(rank))

    def end(self, rank: int) -> None:
        """Tell those who wait that this rank comes no more."""
        with self.changed:
            self.ended.add(rank)
            self.changed.notify_all()


def combined(op: CollectiveOp, operands: Sequence[Array], place: int) -> Array:
    """The result of the rank at `place` of the group. Floats are combined in float64 and rounded once."""
    parts = [np.array_split(operand, len(operands), op.dim) for operand in operands] if operands[0].ndim else []
    match op.kind:
        case "all_gather":
            return np.concatenate(operands, axis=op.dim)
        case "all_to_all":
            return np.concatenate([part[place] for part in parts], axis=op.dim)
        case "reduce_scatter":
            return _reduced(op, [part[place] for part in parts])
    return _reduced(op, operands)


def _reduced(op: CollectiveOp, operands: Sequence[Array]) -> Array:
    dtype = operands[0].dtype
    stacked = np.stack(operands)
    wide = stacked.astype(np.float64) if is_float_dtype(dtype) else stacked
    return np.asarray(UFUNCS[op.combine or ""].reduce(wide, axis=0, dtype=wide.dtype)).astype(dtype)


def interpret_ranks(
    module: ModuleOp, inputs: Sequence[Mapping[str, Array]], weights: Weights | None = None
) -> list[dict[str, Array]]:
    """Run the module once for each rank, each with its own inputs, side by side; results in the order of the ranks. Raises what the first
    rank that failed raises."""
    groups = {rank for op in module.walk() if isinstance(op, CollectiveOp) for rank in op.group}
    if groups - set(range(len(inputs))):
        raise UsageError(
            f"the module names rank {max(groups)}, inputs are given for {len(inputs)} ranks", where="inputs"
        )
    meeting = _Meeting()

    def run(rank: int) -> dict[str, Array]:
        try:
            return interpret(module, inputs[rank], weights, exchange=lambda op, a: meeting.exchange(rank, op, a))
        finally:
            meeting.end(rank)

    with ThreadPoolExecutor(max(1, len(inputs))) as pool:
        return [future.result() for future in [pool.submit(run, rank) for rank in range(len(inputs))]]
