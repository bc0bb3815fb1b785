"""Weights beside a module's text: written with it, and found again from where the text lies."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from xdsl.dialects.builtin import ModuleOp, StringAttr
from xdsl.ir import Attribute

from stepwell.dialects.graph import WeightAttr
from stepwell.dialects.weights import WeightStore
from stepwell.runtime.errors import UsageError

NAMED_BY = "stepwell.weights"


def save_weights(module: ModuleOp, weights: WeightStore, path: Path, folder: Path) -> None:
    """Write the weights that `module` refers to, and name their file in it, relative to `folder`, where its text will lie. References whose
    hash is not that of the values (weights were made up: `random:SEED`) get it, so that what was written is what they find."""
    named = _relative(path, folder)
    saved = WeightStore()
    for held, key, value in list(_references(module)):
        stored = saved.add(value.source.data, weights.stored(value))
        if stored.sha256 != value.sha256:
            held[key] = WeightAttr(value.source, stored.sha256, value.type, value.steps)
    saved.save(path)
    module.attributes[NAMED_BY] = StringAttr(named)


def _references(module: ModuleOp) -> Iterator[tuple[dict[str, Attribute], str, WeightAttr]]:
    """Every reference to a weight, with where it stands."""
    for op in module.walk():
        for held in (op.properties, op.attributes):
            for key, value in held.items():
                if isinstance(value, WeightAttr):
                    yield held, key, value


def unsaved_weights(module: ModuleOp, weights: WeightStore | None) -> list[str]:
    """The names of weights that passes have added to `weights` and `module` refers to."""
    computed = weights.computed if weights is not None else set()
    return sorted({value.source.data for _, _, value in _references(module)} & computed)


def keep_weights_found(module: ModuleOp, source: Path, folder: Path) -> None:
    """Where the text goes from folder `source` to `folder`, let it name the same file of weights."""
    named = module.attributes.get(NAMED_BY)
    if isinstance(named, StringAttr) and not Path(named.data).is_absolute():
        module.attributes[NAMED_BY] = StringAttr(_relative(source / named.data, folder))


def _relative(path: Path, folder: Path) -> str:
    """`path` from `folder`, as it can stand in a text; a UsageError for bytes that are no UTF-8."""
    name = os.path.relpath(path, folder)
    try:
        name.encode()
    except UnicodeEncodeError:
        raise UsageError(
            "the module's text cannot name this file: it is not UTF-8", where=str(path), hint="rename it"
        ) from None
    return name
