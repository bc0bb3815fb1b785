"""What a fusion at the linalg level computes, seen as one kernel: a root (reduction or none), its operands, and the
elementwise work after it.

Every tensor that the kernel reads is an *access*: a fusion argument and the loops of the root that its dims run along.
Loops that are adjacent in every access form one *group*; groups become the dims of the kernel's refs, so a
convolution's (n, oh, ow) is one dim, M."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from math import prod

from xdsl.dialects import arith
from xdsl.dialects.linalg import ops as linalg
from xdsl.ir import Operation

from stepwell.dialects import graph
from stepwell.passes import PassFailure, names_of
from stepwell.transforms.linalg._kinds import Access, Constant, Load, Map, Opaque, Reduce, Stage, Store
from stepwell.transforms.linalg._roles import Roles
from stepwell.transforms.linalg._windows import Loops, Number


@dataclass(frozen=True)
class Structure:
    """One fusion as one kernel. `out`: loops of the result's dims; `extents`: per loop; `operands`: the root's data
    inputs in order; `results`: one stage per result of the fusion; `init`: what the reduction starts from."""

    fusion: graph.FusionOp
    root: linalg.GenericOp | None
    out: Loops
    extents: tuple[int, ...]
    operands: tuple[Access, ...]
    results: tuple[Stage, ...]
    init: Number | None = None
    roles: Roles | None = None
    leaves: tuple[Access, ...] = field(default=())
    reductions: Loops = ()

    @property
    def accesses(self) -> tuple[Access, ...]:
        """Everything that is read: the root's operands, then the epilogue's."""
        return (*self.operands, *self.leaves)

    def extent(self, loops: Sequence[int]) -> int:
        """The product of the extents of some loops."""
        return prod(self.extents[loop] for loop in loops)

    def groups(self) -> tuple[Loops, ...]:
        """The result's loops cut into groups that no access takes apart; the last loop stays alone where an operand's
        vectors run along it, as they do wherever there is a root."""
        accesses = [access.loops for access in self.accesses]
        transposed = bool(accesses) and all(loops[-1:] != self.out[-1:] for loops in accesses)
        keep_last = self.root is not None or not transposed
        return merge_loops(self.out, [self.out, *accesses], keep_last=keep_last)

    def reduction_groups(self) -> tuple[Loops, ...]:
        """The reduction loops cut into groups: taps, then channels."""
        taps = [tuple(s.tap for s in access.window.slides) for access in self.operands if access.window is not None]
        return merge_loops(self.reductions, [*taps, *(access.loops for access in self.operands)], keep_last=False)


def merge_loops(loops: Loops, accesses: Sequence[Loops], *, keep_last: bool) -> tuple[Loops, ...]:
    """Cut `loops` wherever some access has the two neighbours apart or only one of them."""
    groups: list[list[int]] = []
    for position, loop in enumerate(loops):
        last = keep_last and position == len(loops) - 1 and position > 0
        if groups and not last and all(_together(groups[-1][-1], loop, access) for access in accesses):
            groups[-1].append(loop)
            continue
        groups.append([loop])
    return tuple(tuple(group) for group in groups)


def cut(loops: Loops, groups: Sequence[Loops]) -> tuple[Loops, ...] | None:
    """`loops` as a sequence of whole groups, or None when it takes one apart."""
    found: list[Loops] = []
    rest = loops
    while rest:
        group = next((g for g in groups if g and rest[: len(g)] == g), None)
        if group is None:
            return None
        found.append(group)
        rest = rest[len(group) :]
    return tuple(found)


def _together(first: int, second: int, access: Loops) -> bool:
    if first not in access and second not in access:
        return True
    return first in access and second in access and access.index(second) == access.index(first) + 1


# --- from stages


def refuse(op: Operation, reason: str, hint: str = "") -> PassFailure:
    """The failure of the lowering to tile at `op`."""
    return PassFailure(reason, where=" + ".join(names_of(op)) or op.name, hint=hint)


def single_root(
    fusion: graph.FusionOp, order: Sequence[Stage], stores: Sequence[Store], extents: Sequence[int]
) -> Structure:
    """One root with an epilogue; PassFailure with the reason when the stages have another form."""
    roots = [stage for stage in order if isinstance(stage, Reduce)]
    if len(roots) > 1:
        names = ", ".join(" + ".join(names_of(root.op)) or root.op.name for root in roots)
        raise refuse(fusion, f"{len(roots)} reductions in one fusion ({names}): a kernel has one root")
    for unclear in _first_reasons(order):
        if isinstance(unclear, Opaque):
            raise refuse(unclear.op, unclear.reason, unclear.hint)
        if isinstance(unclear, Map) and unclear.indexed:
            raise refuse(unclear.op, "the body needs the position of its element")
    shapes = {store.shape for store in stores}
    if len(shapes) != 1:
        raise refuse(fusion, f"the results have shapes {sorted(shapes)}: one kernel writes results of one shape")
    root = roots[0] if roots else None
    out = root.loops if root is not None else stores[0].loops
    if any(store.loops != out for store in stores):
        raise refuse(fusion, "a result is written in another order of dims than the first or the root's result")
    operands = tuple(_operands(root)) if root is not None else ()
    leaves = _leaves(stores)
    read = [stage for stage in (roots[0].inputs if roots else ()) if _conversion(stage) is not None]
    for stage in order:
        if any(stage is converted for converted in read):
            continue
        if isinstance(stage, Map | Load) and not _inside(stage, out, operands):
            raise refuse(fusion, "the epilogue runs along other loops than the root's result")
    results = tuple(store.value for store in stores)
    if root is None:
        return Structure(fusion, None, out, tuple(extents)[: len(out)], (), results, leaves=leaves)
    count = len(root.op.iterator_types)
    return Structure(
        fusion, root.op, out, tuple(extents)[:count], operands, results, root.init, root.roles, leaves, root.reductions
    )


def _first_reasons(order: Sequence[Stage]) -> list[Map | Reduce | Opaque]:
    """Stages in the order in which their reasons say most: what computes first, then pads and reshapes, the last one first."""
    computed = [stage for stage in reversed(order) if not isinstance(stage, Load | Constant)]
    return sorted(computed, key=lambda stage: not isinstance(stage.op, linalg.GenericOp))


def _operands(root: Reduce) -> Iterator[Access]:
    for stage in root.inputs:
        if (converted := _conversion(stage)) is not None:
            yield converted
            continue
        if not isinstance(stage, Load):
            raise refuse(
                root.op,
                "an operand of the root is computed in the same fusion: no lowering maps operands",
                "split the fusion",
            )
        yield stage.access


def _conversion(stage: Stage) -> Access | None:
    """The access of an operand that is narrowed on its way to the root; None for other operands."""
    if not isinstance(stage, Map) or len(stage.inputs) != 1 or not isinstance(stage.inputs[0], Load):
        return None
    first = stage.op.body.block.first_op
    narrows = isinstance(first, arith.TruncFOp) and first.next_op is stage.op.body.block.last_op
    return replace(stage.inputs[0].access, converted=stage.element) if narrows else None


def _leaves(stores: Sequence[Store]) -> tuple[Access, ...]:
    """What the results read beside the root, in the order of operands."""
    found: dict[Access, None] = {}
    seen: set[int] = set()
    waiting: list[Stage] = [store.value for store in reversed(stores)]
    while waiting:
        stage = waiting.pop()
        if id(stage) in seen:
            continue
        seen.add(id(stage))
        if isinstance(stage, Load):
            found[stage.access] = None
        if isinstance(stage, Map):
            waiting += reversed(stage.inputs)
    return tuple(found)


def _inside(stage: Map | Load, out: Loops, operands: Sequence[Access]) -> bool:
    """Whether a stage runs along loops of the result alone, or is an operand of the root."""
    if isinstance(stage, Load) and stage.access in [replace(access, converted=None) for access in operands]:
        return True
    return set(stage.loops) <= set(out)
