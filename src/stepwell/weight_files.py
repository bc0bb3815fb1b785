"""Weights beside a module's text: written with it, and found again from where the text lies."""

from __future__ import annotations

import os
from pathlib import Path

from xdsl.dialects.builtin import ModuleOp, StringAttr

from stepwell.dialects.graph import WeightAttr
from stepwell.frontends.weights import WeightStore

NAMED_BY = "stepwell.weights"


def save_weights(module: ModuleOp, weights: WeightStore, path: Path, folder: Path) -> None:
    """Write the weights that `module` refers to, and name their file in it, relative to `folder`, where its text will lie. References whose
    hash is not that of the values (weights were made up: `random:SEED`) get it, so that what was written is what they find."""
    references = [
        (held, key, value)
        for op in module.walk()
        for held in (op.properties, op.attributes)
        for key, value in held.items()
        if isinstance(value, WeightAttr)
    ]
    saved = WeightStore()
    for held, key, value in references:
        stored = saved.add(value.source.data, weights.stored(value))
        if stored.sha256 != value.sha256:
            held[key] = WeightAttr(value.source, stored.sha256, value.type, value.steps)
    saved.save(path)
    module.attributes[NAMED_BY] = StringAttr(os.path.relpath(path, folder))


def keep_weights_found(module: ModuleOp, source: Path, folder: Path) -> None:
    """Where the text goes from folder `source` to `folder`, let it name the same file of weights."""
    named = module.attributes.get(NAMED_BY)
    if isinstance(named, StringAttr) and not Path(named.data).is_absolute():
        module.attributes[NAMED_BY] = StringAttr(os.path.relpath(source / named.data, folder))
