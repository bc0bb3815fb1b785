"""Bodies of tile kernels, from the structure of a fusion and its config: a matrix product, a reduction in registers, or
elementwise work alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from xdsl.builder import Builder
from xdsl.dialects import arith
from xdsl.dialects.builtin import IntegerAttr, TensorType
from xdsl.dialects.linalg import ops as linalg
from xdsl.ir import Attribute, Block, Operation, SSAValue
from xdsl.rewriter import InsertPoint

from stepwell.dialects import tile
from stepwell.passes import PassFailure, inherit_location, names_of
from stepwell.transforms.linalg._kinds import Access, Constant, Load, Map, Reduce, Stage
from stepwell.transforms.linalg._structure import Structure, refuse
from stepwell.transforms.linalg._windows import Loops
from stepwell.transforms.linalg_to_tile.operands import Operand

Body = tuple[Builder, tuple[SSAValue, ...]]


@dataclass(frozen=True)
class Plan:
    """What a kernel is made from: the structure, the schedule, the operands (the root's first) and the groups of the
    result's loops."""

    name: str
    structure: Structure
    config: tile.Config
    operands: tuple[Operand, ...]
    groups: tuple[Loops, ...]

    def operand(self, access: Access) -> int:
        """The position of the operand that stands for an access."""
        return next(i for i, operand in enumerate(self.operands) if operand.access == access)


def result_elements(structure: Structure) -> list[Attribute]:
    """Element types of the fusion's results."""
    types = [result.type for result in structure.fusion.outputs]
    return [type.element_type for type in types if isinstance(type, TensorType)]


def build_kernel(plan: Plan) -> tile.KernelOp:
    """The kernel of one fusion, not yet in a module."""
    outputs = [tile.RefType(len(plan.groups), element) for element in result_elements(plan.structure)]
    kernel = tile.KernelOp(plan.name, [operand.ref for operand in plan.operands], outputs, tile.ConfigAttr(plan.config))
    writer = _Writer(plan, kernel)
    writer.write()
    inherit_location(kernel, plan.structure.fusion)
    return kernel


class _Writer:
    """Writes the body of one kernel."""

    def __init__(self, plan: Plan, kernel: tile.KernelOp) -> None:
        self.plan, self.kernel = plan, kernel
        for operand, arg in zip(plan.operands, kernel.inputs, strict=True):
            arg.name_hint = operand.hint
        for arg in kernel.outputs:
            arg.name_hint = "y"
        self.shape = plan.config.block[-2:]
        self.build = Builder(InsertPoint.at_end(kernel.body.block))
        self.zero: SSAValue | None = None
        self.loaded: dict[Access, SSAValue] = {}

    def write(self) -> None:
        """Wait, then for each tile: the root, and for each result the epilogue and a store."""
        self.build.insert(tile.WaitPredecessorOp())
        grid = tile.ForTilesOp(self.kernel.outputs[0], self.plan.config.block)
        for arg, hint in zip(grid.body.block.args, _index_names(len(grid.body.block.args)), strict=True):
            arg.name_hint = hint
        self.build.insert(grid)
        self.grid = grid.body.block.args
        self.build = Builder(InsertPoint.at_end(grid.body.block))
        root = self.write_root()
        for result, output in zip(self.plan.structure.results, self.kernel.outputs, strict=True):
            assert isinstance(output.type, tile.RefType)
            value = self.write_epilogue(result, root, output.type.element_type)
            rank = len(self.grid)
            self.build.insert(tile.StoreOp(value, output, self.grid, [rank - 2, rank - 1]))

    def write_root(self) -> SSAValue | None:
        """The accumulator after the reduction, or None without a root."""
        structure = self.plan.structure
        if structure.root is None or structure.init is None:
            return None
        element = structure.root.res[0].type
        assert isinstance(element, TensorType)
        accumulator = tile.TileType(self.shape, element.element_type)
        start = self.insert(tile.FillOp(structure.init, accumulator), "zero")
        if self.plan.config.mma != "none":
            return self.write_product(start)
        return self.write_reduction(structure.root, start)

    def insert(self, op: Operation, hint: str = "") -> SSAValue:
        """Insert an op with one result."""
        self.build.insert(op)
        op.results[0].name_hint = hint or None
        return op.results[0]

    # --- roots

    def write_product(self, start: SSAValue) -> SSAValue:
        """Loop over taps and channels of x, of a batched product over k: load x [rows, k] and w [columns, k], multiply and add."""
        config = self.plan.config
        if self.plan.operands[0].access.converted is not None:
            return self.write_converted_product(start, self.plan.operands[0].access.converted)
        x, w = self.kernel.inputs[:2]
        batch, rows = self.grid[:-2], self.grid[-2:]
        loop = tile.ForOp(x, [2], [config.k], [start]) if batch else tile.ForOp(x, [1, 2], [1, config.k], [start])
        dims = [1, 2] if batch else [0, 2]
        homes = (tile.Residence.RING,) * 2 if config.uses_wgmma else (tile.Residence.IN_PLACE, tile.Residence.PACKED)

        def body(build: Builder, offsets: Sequence[SSAValue], carried: SSAValue) -> SSAValue:
            loads: list[SSAValue] = []
            for ref, row, extent, home in zip((x, w), rows, config.block[-2:], homes, strict=True):
                assert isinstance(ref.type, tile.RefType)
                kind = tile.TileType([extent, config.k], ref.type.element_type, home)
                loads.append(build.insert(tile.LoadOp(ref, [*batch, row, *offsets], kind, dims)).results[0])
            return build.insert(tile.MmaOp(loads[0], loads[1], carried)).results[0]

        return self.write_loop(loop, ["t", "k"][-len(loop.get_dims()) :], body)

    def write_converted_product(self, start: SSAValue, element: Attribute) -> SSAValue:
        """Loop over the channels of x [M, K], whose elements are narrowed in registers before they are multiplied."""
        config, (x, w), (row, column) = self.plan.config, self.kernel.inputs[:2], self.grid
        assert isinstance(x.type, tile.RefType) and isinstance(w.type, tile.RefType)
        held, narrow, panel = x.type.element_type, element, w.type.element_type
        tap = self.write_zero(self.build)
        loop = tile.ForOp(x, [1], [config.k], [start])

        def body(build: Builder, offsets: Sequence[SSAValue], carried: SSAValue) -> SSAValue:
            shape = [config.block[-2], config.k]
            loaded = build.insert(tile.LoadOp(x, [row, *offsets], tile.TileType(shape, held))).results[0]
            converted = tile.MapOp([loaded], tile.TileType(shape, narrow))
            inside = Builder(InsertPoint.at_end(converted.body.block))
            made = inside.insert(arith.TruncFOp(converted.body.block.args[0], narrow)).results[0]
            inside.insert(tile.YieldOp(made))
            build.insert(converted)
            loaded.name_hint = converted.result.name_hint = "x"
            kind = tile.TileType([config.block[-1], config.k], panel, tile.Residence.RING)
            right = build.insert(tile.LoadOp(w, [column, tap, *offsets], kind, [0, 2])).results[0]
            return build.insert(tile.MmaOp(converted.result, right, carried)).results[0]

        return self.write_loop(loop, ["k"], body)

    def write_loop(
        self, loop: tile.ForOp, hints: Sequence[str], body: Callable[[Builder, Sequence[SSAValue], SSAValue], SSAValue]
    ) -> SSAValue:
        """Insert a loop that carries one tile; `body` makes the next one."""
        for arg, hint in zip(loop.body.block.args, (*hints, "c"), strict=True):
            arg.name_hint = hint
        build = Builder(InsertPoint.at_end(loop.body.block))
        carried = body(build, loop.offsets, loop.iter_args[0])
        build.insert(tile.YieldOp(carried))
        return self.insert(loop, "acc")

    def write_reduction(self, root: linalg.GenericOp, start: SSAValue) -> SSAValue:
        """Loop over the reduction one element at a time; the root's body combines register tiles."""
        structure, groups = self.plan.structure, self.plan.structure.reduction_groups()
        operands = self.plan.operands[: len(structure.operands)]
        over = next((i for i, o in enumerate(operands) if all(group in o.groups for group in groups)), None)
        if over is None:
            raise refuse(root, "no operand has all reduction loops: there is nothing to loop over")
        dims = [operands[over].groups.index(group) for group in groups]
        loop = tile.ForOp(self.kernel.inputs[over], dims, [1] * len(groups), [start])

        def body(build: Builder, offsets: Sequence[SSAValue], carried: SSAValue) -> SSAValue:
            at = dict(zip(groups, offsets, strict=True))
            tiles = [self.load(build, position, at) for position in range(len(operands))]
            result = tile.MapOp([*tiles, carried], carried.type)  # type: ignore[arg-type]
            inside = Builder(InsertPoint.at_end(result.body.block))
            args: list[SSAValue] = list(result.body.block.args)
            scalars = _body_arguments(root, args)
            inside.insert(tile.YieldOp(clone_body(root.body.block, scalars, inside)))
            return build.insert(result).results[0]

        return self.write_loop(loop, ["t", "k"][: len(groups)], body)

    # --- loads

    def load(self, build: Builder, position: int, reduction: dict[Loops, SSAValue]) -> SSAValue:
        """A register tile of the block's shape from an operand: what its dims cover, repeated along the others."""
        operand, ref = self.plan.operands[position], self.kernel.inputs[position]
        at = {**dict(zip(self.plan.groups, self.grid, strict=True)), **reduction}
        indices = [at[group] if group and group in at else self.write_zero(build) for group in operand.groups]
        covered = [d for d, group in enumerate(self.plan.groups[-2:]) if group and group in operand.groups]
        dims = [operand.groups.index(self.plan.groups[-2:][d]) for d in covered]
        assert isinstance(ref.type, tile.RefType)
        shape = [self.shape[d] for d in covered] or [1]
        kind = tile.TileType(shape, ref.type.element_type)
        loaded = build.insert(tile.LoadOp(ref, indices, kind, dims or [0], operand.fill)).results[0]
        loaded.name_hint = operand.hint
        if len(covered) == 2:
            return loaded
        full = tile.TileType(self.shape, ref.type.element_type)
        return build.insert(tile.BroadcastOp(loaded, covered or [1], full)).results[0]

    def write_zero(self, build: Builder) -> SSAValue:
        """The index 0, for a dim that no loop runs along."""
        return build.insert(arith.ConstantOp(IntegerAttr.from_index_int_value(0))).results[0]

    # --- epilogue

    def write_epilogue(self, node: Stage, root: SSAValue | None, element: Attribute) -> SSAValue:
        """The tile of a result: one tile.map over the accumulator and the loaded operands, unless there is nothing to
        compute."""
        if isinstance(node, Reduce) and root is not None:
            return root
        if isinstance(node, Load):
            return self.leaf(node.access)
        inputs: dict[Stage, SSAValue] = {}
        for read in _read_by(node):
            inputs.setdefault(read, self._input(read, root))
        result = tile.MapOp(list(inputs.values()), tile.TileType(self.shape, element))
        inside = Builder(InsertPoint.at_end(result.body.block))
        scalars: dict[int, SSAValue] = {}
        args: dict[Stage, SSAValue] = dict(zip(inputs, result.body.block.args, strict=True))
        inside.insert(tile.YieldOp(_scalar(node, args, scalars, inside)))
        return self.insert(result, "o")

    def _input(self, node: Load | Reduce, root: SSAValue | None) -> SSAValue:
        if isinstance(node, Load):
            return self.leaf(node.access)
        assert root is not None
        return root

    def leaf(self, access: Access) -> SSAValue:
        """The tile of an epilogue operand, loaded once."""
        if access not in self.loaded:
            self.loaded[access] = self.load(self.build, self.plan.operand(access), {})
        return self.loaded[access]


def _index_names(rank: int) -> list[str]:
    return ["i", "j"] if rank == 2 else [*(f"b{d}" for d in range(rank - 2)), "i", "j"]


def _read_by(node: Stage) -> Iterator[Load | Reduce]:
    """The loads and the root of an expression, in the order of its operands."""
    seen: set[int] = set()
    waiting: list[Stage] = [node]
    while waiting:
        stage = waiting.pop()
        if id(stage) in seen:
            continue
        seen.add(id(stage))
        if isinstance(stage, Load | Reduce):
            yield stage
        if isinstance(stage, Map):
            waiting += reversed(stage.inputs)


def _scalar(node: Stage, args: dict[Stage, SSAValue], done: dict[int, SSAValue], build: Builder) -> SSAValue:
    """The scalar of a node inside of a map; shared nodes are computed once."""
    if isinstance(node, Load | Reduce):
        return args[node]
    if id(node) in done:
        return done[id(node)]
    if isinstance(node, Constant):
        done[id(node)] = build.insert(arith.ConstantOp(node.value)).results[0]
        return done[id(node)]
    assert isinstance(node, Map), "other stages are not written here"
    inputs: list[SSAValue | None] = [_scalar(inner, args, done, build) for inner in node.inputs]
    done[id(node)] = clone_body(node.op.body.block, [*inputs, None], build)
    return done[id(node)]


def _body_arguments(root: linalg.GenericOp, tiles: list[SSAValue]) -> list[SSAValue | None]:
    """What the arguments of the root's body stand for: the tiles in order, nothing for a shape-only operand."""
    waiting = list(tiles)
    found: list[SSAValue | None] = []
    for value in root.inputs:
        shape_only = isinstance(value.owner, Operation) and value.owner.name == "tensor.empty"
        found.append(None if shape_only else waiting.pop(0))
    return [*found, waiting.pop(0)]


def clone_body(block: Block, arguments: Sequence[SSAValue | None], build: Builder) -> SSAValue:
    """Copy the scalar ops of a generic's body and return what it yields; an argument that is None must be unused."""
    mapping: dict[SSAValue, SSAValue] = {}
    for arg, value in zip(block.args, arguments, strict=True):
        if value is not None:
            mapping[arg] = value
        elif arg.uses.get_length():
            raise PassFailure("the body of a generic reads a destination that has no value", where=_place(block))
    for op in block.ops:
        for operand in op.operands:
            _bring_constant(operand, mapping, build)
        if isinstance(op, linalg.YieldOp):
            return mapping[op.operands[0]]
        build.insert(op.clone(value_mapper=mapping))
    raise ValueError("a generic's body ends in linalg.yield")


def _place(block: Block) -> str:
    parent = block.parent_op()
    return " + ".join(names_of(parent)) if parent is not None else ""


def _bring_constant(value: SSAValue, mapping: dict[SSAValue, SSAValue], build: Builder) -> None:
    """Copy a constant that stands outside of the body."""
    if value in mapping or not isinstance(value.owner, arith.ConstantOp):
        return
    mapping[value] = build.insert(value.owner.clone()).results[0]
