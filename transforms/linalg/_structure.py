"""What a fusion at the linalg level computes, seen as one kernel: a root (reduction or none), its operands, and the
elementwise work after it.

Every tensor that the kernel reads is an *access*: a fusion argument and the loops of the root that its dims run along.
Loops that are adjacent in every access form one *group*; groups become the dims of the kernel's refs, so a
convolution's (n, oh, ow) is one dim, M."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from math import prod

from xdsl.dialects import arith, tensor
from xdsl.dialects.builtin import FloatAttr, IntegerAttr, TensorType
from xdsl.dialects.linalg import ops as linalg
from xdsl.ir import BlockArgument, Operation, SSAValue
from xdsl.ir.affine import AffineDimExpr, AffineMap

from stepwell.dialects import graph
from stepwell.dialects.linalg_interpreter import loop_extents
from stepwell.passes import PassFailure, names_of
from stepwell.transforms.linalg._roles import Roles, Slide, contraction_roles, reduction_loops, slide_of

Loops = tuple[int, ...]
Number = FloatAttr | IntegerAttr


@dataclass(frozen=True)
class WindowShape:
    """The geometry of a windowed access: slides in the order of the spatial dims, pads (begins, then ends), the
    padding's value."""

    slides: tuple[Slide, ...]
    pads: tuple[int, ...]
    fill: Number | None

    @property
    def trivial(self) -> bool:
        """Unit strides without padding (a 1x1 kernel with them is a plain matrix)."""
        return not any(self.pads) and all(slide.stride == 1 for slide in self.slides)


@dataclass(frozen=True)
class Access:
    """A tensor that the kernel reads: a fusion argument, reshaped to `shape`. `loops`: what its dims run along; with a
    window, those of the view [images, pixels | taps | channels]."""

    value: BlockArgument
    shape: tuple[int, ...]
    loops: Loops
    window: WindowShape | None = None


@dataclass(frozen=True)
class Leaf:
    """An epilogue operand."""

    access: Access


@dataclass(frozen=True)
class RootValue:
    """The root's result."""


@dataclass(frozen=True)
class Constant:
    """One number everywhere."""

    value: Number


@dataclass(frozen=True)
class Apply:
    """The body of an elementwise generic on nodes."""

    op: linalg.GenericOp
    inputs: tuple[Node, ...]


Node = Leaf | RootValue | Constant | Apply


@dataclass(frozen=True)
class Structure:
    """One fusion as one kernel. `out`: loops of the result's dims; `extents`: per loop; `operands`: the root's data
    inputs in order; `results`: one node per result of the fusion; `init`: what the reduction starts from."""

    fusion: graph.FusionOp
    root: linalg.GenericOp | None
    out: Loops
    extents: tuple[int, ...]
    operands: tuple[Access, ...]
    results: tuple[Node, ...]
    init: Number | None = None
    roles: Roles | None = None
    leaves: tuple[Access, ...] = field(default=())

    @property
    def accesses(self) -> tuple[Access, ...]:
        """Everything that is read: the root's operands, then the epilogue's."""
        return (*self.operands, *self.leaves)

    @property
    def reductions(self) -> Loops:
        """The root's reduction loops."""
        return reduction_loops(self.root) if self.root is not None else ()

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


# --- from a fusion


def refuse(op: Operation, reason: str, hint: str = "") -> PassFailure:
    """The failure of the lowering to tile at `op`."""
    return PassFailure(reason, where=" + ".join(names_of(op)) or op.name, hint=hint)


def structure_of(fusion: graph.FusionOp) -> Structure:
    """Analyse a fusion; PassFailure with the reason when it is not one kernel of a known form."""
    return _Analysis(fusion).run()


class _Analysis:
    """Walks from the results to the arguments, with the root loops that each value's dims run along."""

    def __init__(self, fusion: graph.FusionOp) -> None:
        self.fusion = fusion
        self.root: linalg.GenericOp | None = None
        self.leaves: dict[tuple[SSAValue, Loops], Access] = {}
        self.nodes: dict[tuple[SSAValue, Loops], Node] = {}
        self.out: Loops = ()

    def run(self) -> Structure:
        values = [through_reshapes(value) for value in self.fusion.terminator.values]
        shapes = {_shape(value) for value in values}
        if len(shapes) != 1:
            raise refuse(
                self.fusion, f"the results have shapes {sorted(shapes)}: one kernel writes results of one shape"
            )
        self.root = self._find_root()
        _refuse_groups(self.root)
        rank = len(shapes.pop())
        self.out = self._out_loops(rank)
        results = tuple(self.node(value, self.out) for value in values)
        operands = tuple(_operands(self.root)) if self.root is not None else ()
        extents = loop_extents(self.root) if self.root is not None else _shape(values[0])
        leaves = tuple(self.leaves.values())
        init = _initial(self.root) if self.root is not None else None
        roles = contraction_roles(self.root) if self.root is not None and len(operands) == 2 else None
        return Structure(self.fusion, self.root, self.out, extents, operands, results, init, roles, leaves)

    def _find_root(self) -> linalg.GenericOp | None:
        roots = [op for op in self.fusion.body.block.ops if isinstance(op, linalg.GenericOp) and reduction_loops(op)]
        if roots and uses_positions(roots[0]):
            raise refuse(roots[0], "the reduction needs the position of its elements")
        if len(roots) > 1:
            names = ", ".join(" + ".join(names_of(op)) or op.name for op in roots)
            raise refuse(self.fusion, f"{len(roots)} reductions in one fusion ({names}): a kernel has one root")
        return roots[0] if roots else None

    def _out_loops(self, rank: int) -> Loops:
        if self.root is None:
            return tuple(range(rank))
        if len(self.root.outputs) != 1:
            raise refuse(self.root, "a reduction with several results has no kernel")
        loops = plain_loops(self.root.indexing_maps.data[-1].data)
        if loops is None or len(loops) != rank:
            raise refuse(
                self.root, "the root's result is reshaped inside of the fusion, or its map is no permutation of loops"
            )
        return loops

    def node(self, value: SSAValue, loops: Loops) -> Node:
        """The node of a value whose dims run along `loops`."""
        key = (value, loops)
        if key not in self.nodes:
            self.nodes[key] = self._make_node(value, loops)
        return self.nodes[key]

    def _make_node(self, value: SSAValue, loops: Loops) -> Node:
        base = through_reshapes(value)
        if isinstance(base, BlockArgument):
            access = self.leaves.setdefault((base, loops), Access(base, _shape(value), loops))
            return Leaf(access)
        op = value.owner
        assert isinstance(op, Operation)
        if isinstance(op, linalg.FillOp):
            return Constant(constant_number(op.inputs[0]))
        if op is self.root:
            if loops != self.out:
                raise refuse(op, "the epilogue reads the root's result through another order of dims")
            return RootValue()
        if not isinstance(op, linalg.GenericOp) or len(op.outputs) != 1:
            raise refuse(op, f"{op.name} has no place in a kernel's epilogue")
        return self._elementwise(op, loops)

    def _elementwise(self, op: linalg.GenericOp, loops: Loops) -> Apply:
        if uses_positions(op):
            raise refuse(op, "the body needs the position of its element")
        out = plain_loops(op.indexing_maps.data[-1].data)
        if out is None or len(out) != len(op.iterator_types):
            raise refuse(op, "the result's map is not a permutation of the loops")
        to_root = dict(zip(out, loops, strict=True))
        inputs = []
        for value, attr in zip(op.inputs, op.indexing_maps.data[:-1], strict=True):
            dims = plain_loops(attr.data)
            if dims is None:
                raise refuse(op, f"the map {attr.data} is not a projection of the loops")
            inputs.append(self.node(value, tuple(to_root[dim] for dim in dims)))
        return Apply(op, tuple(inputs))


def uses_positions(op: linalg.GenericOp) -> bool:
    """Whether the body computes with the position of its element, or reads a tensor anywhere."""
    return any(isinstance(inner, linalg.IndexOp | tensor.ExtractOp) for inner in op.body.block.ops)


def _shape(value: SSAValue) -> tuple[int, ...]:
    assert isinstance(value.type, TensorType)
    return value.type.get_shape()


def through_reshapes(value: SSAValue) -> SSAValue:
    """The value that `value` is a row-major reshape of."""
    while isinstance(value.owner, tensor.ExpandShapeOp | tensor.CollapseShapeOp):
        value = value.owner.src
    return value


def through_copies(value: SSAValue, loops: Loops) -> tuple[SSAValue, Loops]:
    """The value that `value` repeats or reorders, and the loops that its dims run along."""
    while isinstance(value.owner, linalg.GenericOp) and is_copy(value.owner):
        source, result = (plain_loops(attr.data) for attr in value.owner.indexing_maps)
        if source is None or result is None:
            return value, loops
        at = dict(zip(result, loops, strict=True))
        value, loops = value.owner.inputs[0], tuple(at[loop] for loop in source)
    return value, loops


def is_copy(op: linalg.GenericOp) -> bool:
    """Whether a generic yields its only input: a broadcast or a transpose."""
    body = op.body.block
    only = body.first_op
    return len(op.inputs) == 1 and isinstance(only, linalg.YieldOp) and only.operands[0] is body.args[0]


def plain_loops(map: AffineMap) -> Loops | None:
    """The loops of a map whose results are distinct single loops; None for other maps."""
    loops = tuple(expr.position for expr in map.results if isinstance(expr, AffineDimExpr))
    return loops if len(loops) == len(map.results) and len(set(loops)) == len(loops) else None


def constant_number(value: SSAValue) -> Number:
    """The number that a scalar is; PassFailure when it is computed."""
    owner = value.owner
    if not isinstance(owner, arith.ConstantOp) or not isinstance(owner.value, FloatAttr | IntegerAttr):
        raise PassFailure("a fill or pad with a computed value has no kernel")
    return owner.value


def _refuse_groups(root: linalg.GenericOp | None) -> None:
    roles = contraction_roles(root) if root is not None else None
    if root is not None and roles is not None and roles.batch and roles.window and (roles.n or roles.k):
        raise refuse(root, "a grouped convolution has no kernel: only groups of one channel (depthwise) have")


def _initial(root: linalg.GenericOp) -> Number:
    fill = root.outputs[0].owner
    if not isinstance(fill, linalg.FillOp):
        raise refuse(root, "the reduction does not start from a linalg.fill")
    return constant_number(fill.inputs[0])


def _operands(root: linalg.GenericOp) -> Iterator[Access]:
    """The root's inputs that hold data: a tensor.empty gives only the extents of a window."""
    for value, attr in zip(root.inputs, root.indexing_maps.data, strict=False):
        if not isinstance(value.owner, tensor.EmptyOp):
            yield _operand(root, value, attr.data)


def _operand(root: linalg.GenericOp, value: SSAValue, map: AffineMap) -> Access:
    loops = plain_loops(map)
    if loops is not None:
        value, loops = through_copies(value, loops)
    pad = value.owner if isinstance(value.owner, tensor.PadOp) else None
    base = through_reshapes(pad.source if pad is not None else value)
    if not isinstance(base, BlockArgument):
        raise refuse(
            root, "an operand of the root is computed in the same fusion: no lowering maps operands", "split the fusion"
        )
    if loops is not None and pad is None:
        return Access(base, _shape(value), loops)
    return Access(base, _shape(pad.source if pad is not None else value), *_window(root, map, pad))


def _window(root: linalg.GenericOp, map: AffineMap, pad: tensor.PadOp | None) -> tuple[Loops, WindowShape]:
    """The loops of the view [images, pixels | taps | channels] and its geometry."""
    rank, reductions = len(map.results), reduction_loops(root)
    slides = [slide_of(expr, map.num_dims, reductions) for expr in map.results]
    spatial = [dim for dim, slide in enumerate(slides) if slide is not None]
    others = [expr.position for expr in map.results if isinstance(expr, AffineDimExpr)]
    if spatial != list(range(1, rank - 1)) or len(others) != 2:
        raise refuse(
            root, f"the map {map} is not a window over [N, spatial.., C]", "run graph-assign-layout for channels last"
        )
    low = tuple(pad.static_low.get_values()) if pad is not None else (0,) * rank
    high = tuple(pad.static_high.get_values()) if pad is not None else (0,) * rank
    if any((low[0], high[0], low[-1], high[-1])):
        raise refuse(root, "images or channels are padded: only spatial dims of a window are")
    found = tuple(slide for slide in slides if slide is not None)
    fill = None
    if pad is not None and pad.region.block.last_op is not None:
        fill = constant_number(pad.region.block.last_op.operands[0])
    loops = (others[0], *(s.output for s in found), *(s.tap for s in found), others[1])
    return loops, WindowShape(found, (*low[1:-1], *high[1:-1]), fill)
