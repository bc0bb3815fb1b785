"""What an op is called: its own name, and the source names of the model's nodes that it stands for, kept in its location."""

from __future__ import annotations

from collections.abc import Iterable
from typing import cast

from xdsl.dialects.builtin import (
    ArrayAttr,
    FusedLoc,
    LocationAttr,
    NameLoc,
    NoneAttr,
    StringAttr,
    UnknownLoc,
    UnregisteredOp,
)
from xdsl.ir import Operation


def names_of(op: Operation) -> tuple[str, ...]:
    """The source node names in the op's location, in order, without repeats."""
    return tuple(dict.fromkeys(_location_names(op.location)))


def _location_names(location: LocationAttr) -> Iterable[str]:
    match location:
        case NameLoc():
            yield location.desc.data
        case FusedLoc():
            for part in cast(ArrayAttr[LocationAttr], location.locations):
                yield from _location_names(part)


def op_name(op: Operation) -> str:
    """The op's name, also of an op whose dialect is not registered."""
    return op.op_name.data if isinstance(op, UnregisteredOp) else op.name


def location_of(names: Iterable[str]) -> LocationAttr:
    """A location that carries these source names: NameLoc for one, FusedLoc for several, UnknownLoc for none."""
    unique = [NameLoc(StringAttr(name), NoneAttr()) for name in dict.fromkeys(names)]
    if not unique:
        return UnknownLoc()
    return unique[0] if len(unique) == 1 else FusedLoc(ArrayAttr(unique), NoneAttr())


def fuse_locations(ops: Iterable[Operation]) -> LocationAttr:
    """One location with all source names of `ops`."""
    return location_of(name for op in ops for name in names_of(op))


def inherit_location(new: Operation, *sources: Operation) -> None:
    """Give `new`, and every op inside it that has no name, the source names of `sources`."""
    name_if_unknown(new, fuse_locations(sources))


def name_if_unknown(op: Operation, location: LocationAttr) -> None:
    """Give `location` to `op`, and to every op inside it, where it has none."""
    for inner in op.walk():
        if isinstance(inner.location, UnknownLoc):
            inner.location = location
