"""Names of kernels and functions: identifiers, each once in a module."""

from __future__ import annotations

import re
from itertools import count

from xdsl.dialects.builtin import ModuleOp, StringAttr
from xdsl.ir import Block


def taken_symbols(scope: ModuleOp | Block) -> set[str]:
    """The names of all symbols of a module, or of its block."""
    ops = scope.body.block.ops if isinstance(scope, ModuleOp) else scope.ops
    return {name.data for op in ops if isinstance(name := op.properties.get("sym_name"), StringAttr)}


def new_symbol(name: str, taken: set[str], first: int = 1) -> str:
    """An identifier like `name` that is not taken, and from now on is; where it was, it ends in a number from `first` on."""
    stem = re.sub(r"\W+", "_", name, flags=re.ASCII).strip("_") or "kernel"
    stem = f"k{stem}" if stem[0].isdigit() else stem
    numbered = (f"{stem}_{number}" for number in count(first))
    found = stem if stem not in taken else next(candidate for candidate in numbered if candidate not in taken)
    taken.add(found)
    return found
