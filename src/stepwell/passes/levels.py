"""The levels of the ladder and what each may hold: a table of dialects, or of single ops of one, checked between pipelines."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from xdsl.dialects.builtin import ModuleOp, StringAttr
from xdsl.ir import Operation

from stepwell.dialects.op_interfaces import AtLevels
from stepwell.ir.locations import names_of, op_name
from stepwell.runtime.errors import ModelError, UsageError

LEVELS = ("graph", "linalg", "tile", "plan", "kernel", "llvm")

_SCALAR = ("arith", "math")
_KERNELS = ("tensor", "linalg", "scf", "memref", *_SCALAR)
_PROGRAM = ("builtin", "plan", *_SCALAR)
OF_LOOPS = (
    "graph.arg_pool",
    "graph.compact",
    "graph.cumulative",
    "graph.determinant",
    "graph.dft",
    "graph.extent",
    "graph.fill_tail",
    "graph.gru",
    "graph.linear_attention",
    "graph.lstm",
    "graph.non_max_suppression",
    "graph.prefix",
    "graph.random",
    "graph.rnn",
    "graph.roi_pool",
    "graph.scatter",
    "graph.top_k",
)
"""Ops without a form in linalg: each stays alone in its fusion until kernels of loops are made."""
OF_KERNELS = ("graph.attention",)
"""Ops of the graph level that a kernel of their own takes whole, without a form in linalg."""
ALLOWED: dict[str, frozenset[str]] = {
    "graph": frozenset({"builtin", "func", "graph"}),
    "linalg": frozenset(
        {
            "builtin",
            "func",
            "graph.weight",
            "graph.reshape",
            "graph.fusion",
            "graph.yield",
            "graph.custom",
            *OF_LOOPS,
            *OF_KERNELS,
            "tensor",
            "linalg",
            *_SCALAR,
        }
    ),
    "tile": frozenset({"builtin", "func", "graph.weight", "graph.reshape", "graph.custom", "tile", *_KERNELS}),
    "plan": frozenset({*_PROGRAM, "tile", *_KERNELS}),
    "kernel": frozenset({*_PROGRAM, "warp", "hopper", "func", "scf", "cf", "vector", "llvm", "llvm_extra"}),
    "llvm": frozenset({*_PROGRAM, "llvm", "llvm_extra"}),
}
"""Level -> dialects, and `dialect.op` where only some ops of a dialect stay at that level."""

REASONS_SHOWN = 8


def rank(level: str) -> int:
    """The place of `level` on the ladder; UsageError for a name that is none."""
    if level not in LEVELS:
        raise UsageError(f"unknown level '{level}'", hint=f"levels: {', '.join(LEVELS)}")
    return LEVELS.index(level)


def level_of(module: ModuleOp) -> str:
    """The level that the module says it is at (`stepwell.level`); graph where it says nothing."""
    said = module.attributes.get("stepwell.level")
    level = said.data if isinstance(said, StringAttr) else "graph"
    rank(level)
    return level


def set_level(module: ModuleOp, level: str) -> None:
    """Write `level` into the module."""
    rank(level)
    module.attributes["stepwell.level"] = StringAttr(level)


def dialect_counts(module: ModuleOp) -> Counter[str]:
    """How many ops of each dialect the module holds, itself left out."""
    return Counter(op_name(op).partition(".")[0] for op in module.walk() if op is not module)


def strangers(module: ModuleOp, *levels: str) -> Iterable[Operation]:
    """The ops of `module` that none of `levels` allows: neither its table nor the op's own trait `AtLevels`. UsageError for a trait that names a
    level which there is not."""
    allowed = frozenset().union(*(ALLOWED[level] for level in levels))
    for op in module.walk():
        name = op_name(op)
        if name in allowed or name.partition(".")[0] in allowed or not set(levels).isdisjoint(levels_of_op(op)):
            continue
        yield op


def levels_of_op(op: Operation) -> tuple[str, ...]:
    """The levels that the op's class says it may stand at."""
    trait = op.get_trait(AtLevels)
    if trait is None:
        return ()
    unknown = [level for level in trait.levels if level not in LEVELS]
    if unknown:
        raise UsageError(f"'{unknown[0]}' is no level", where=op.name, hint=f"levels: {', '.join(LEVELS)}")
    return trait.levels


def check_level(module: ModuleOp, level: str) -> None:
    """Raise a ModelError that names each op (with its source node) which `level` does not allow."""
    rank(level)
    reasons = [f"'{op_name(op)}' ({' + '.join(names_of(op)) or 'no source name'})" for op in strangers(module, level)]
    if not reasons:
        return
    shown = reasons[:REASONS_SHOWN] + (
        [f"and {len(reasons) - REASONS_SHOWN} more"] if len(reasons) > REASONS_SHOWN else []
    )
    raise ModelError(
        f"the module is not at level '{level}': {len(reasons)} ops are not allowed there",
        hint=f"{level} holds: {', '.join(sorted(ALLOWED[level]))}",
        reasons=shown,
    )
