"""Names of SSA values in IR text. They only help readers: what a tensor is called stands in locations and bindings, exactly.

>>> ssa_hint("conv1/Relu:0"), ssa_hint("12"), ssa_hint("é"), ssa_hint("x_3_4")
('conv1_Relu', 't12', None, 'x')
"""

from __future__ import annotations

import re

LONGEST = 60
_SUFFIXES = re.compile(r"(_[0-9]+)+$")
"""xDSL prints the second value with a hint as `hint_1` and takes one such suffix off when a hint is set: a hint that ends in another
would then meet the name of the second value."""


def without_suffixes(hint: str | None) -> str | None:
    """`hint` without numbers at its end; None where nothing is left."""
    return (_SUFFIXES.sub("", hint) or None) if hint else None


def ssa_hint(name: str) -> str | None:
    """The hint for a value that stands for the tensor `name`: letters, digits and underscores of ASCII; None where nothing can be shown."""
    cleaned = re.sub(r"[^A-Za-z0-9_]", "_", name[:LONGEST])
    hint = without_suffixes(cleaned) or cleaned.lstrip("_")
    if not hint.strip("_"):
        return None
    return f"t{hint}" if hint[0].isdigit() else hint
