"""Bodies of kernels that fold rows: from `Rows` and a config, one writer per kind of stage (load, map, reduce, store).

A block has the reduced dims whole. With `rows = hold` one tile of `k` elements holds a row, which is loaded once and stays in registers; else there
is a loop over chunks of it for each reduction that waits for another, with what it needs computed again from loads, and a last one that stores."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from xdsl.builder import Builder
from xdsl.dialects import arith
from xdsl.dialects.builtin import IndexType, IntegerAttr, IntegerType, i1
from xdsl.dialects.linalg import ops as linalg
from xdsl.ir import Attribute, Operation, SSAValue
from xdsl.rewriter import InsertPoint

from stepwell.dialects import graph, tile
from stepwell.passes import inherit_location
from stepwell.transforms.linalg._roles import reduction_loops
from stepwell.transforms.linalg._rows import Rows, fold_of
from stepwell.transforms.linalg._structure import Loops, cut, refuse
from stepwell.transforms.linalg._windows import constant_number
from stepwell.transforms.linalg_to_tile.operands import Operand, weight_behind
from stepwell.transforms.tensors import element_of


@dataclass(frozen=True)
class RowsPlan:
    """What a kernel of rows is made from. `groups`: what each dim of the grid runs along; `operands`: one for each leaf of `structure`, in order;
    `row`, `column`: the groups that the dims of a tile run along."""

    name: str
    structure: Rows
    config: tile.Config
    groups: tuple[Loops, ...]
    operands: tuple[Operand, ...]
    outputs: tuple[tuple[Loops, ...], ...]
    row: Loops
    column: Loops

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of a tile."""
        block = dict(zip(self.groups, self.config.block, strict=True))
        return block[self.row], block[self.column] or self.config.k

    @property
    def folds_columns(self) -> bool:
        """Whether the columns of a tile are reduced."""
        return self.structure.is_reduced(self.column)


def grid_groups(structure: Rows) -> tuple[tuple[Loops, ...], Loops, Loops]:
    """What the dims of the grid run along, and which of them the rows and columns of a tile do: the columns lie together in memory, the rows
    are the last other dim that is not reduced, one of a single element where there is none."""
    groups = structure.groups
    column = groups[-1]
    rows = [group for group in groups[:-1] if not structure.is_reduced(group)]
    return (groups, rows[-1], column) if rows else (((), *groups), (), column)


def plan_rows(structure: Rows, config: tile.Config, name: str) -> RowsPlan:
    """What the kernel is made from; PassFailure where the config does not fit."""
    groups, row, column = grid_groups(structure)
    if len(config.block) != len(groups):
        raise refuse(structure.fusion, f"block = {list(config.block)}, the kernel has {len(groups)} dims")
    for group, extent in zip(groups, config.block, strict=True):
        if (extent == 0) != structure.is_reduced(group):
            raise refuse(structure.fusion, f"the config {config} does not take whole what is reduced, and that alone")
    reduced = [group for group in groups if structure.is_reduced(group)]
    if config.rows == "hold" and (reduced != [column] or structure.extent(column) > config.k):
        raise refuse(
            structure.fusion, f"rows = hold: rows of {structure.extent(reduced[-1])} elements are no tile of {config.k}"
        )
    outputs = []
    for value in structure.results:
        wanted = {*(cut(structure.loops[value], groups) or ()), *([row] if row == () else [])}
        outputs.append(tuple(group for group in groups if group in wanted))
    operands = tuple(
        _operand(structure, value, groups, f"x{n}" if n else "x") for n, value in enumerate(structure.leaves)
    )
    return RowsPlan(name, structure, config, groups, operands, tuple(outputs), row, column)


def _operand(structure: Rows, value: SSAValue, groups: tuple[Loops, ...], hint: str) -> Operand:
    access = structure.leaves[value]
    found = cut(access.loops, groups) or ((),)
    if () in groups and len(found) == len(groups) - 1:
        found = ((), *found)
    shape = tuple(structure.extent(group) for group in found)
    weight = weight_behind(structure, access)
    steps = () if weight is None else (graph.StepAttr("reshape", access.shape), graph.StepAttr("reshape", shape))
    ref = tile.RefType(len(shape), element_of(value), tile.Access("plain", 0, weight is not None))
    return Operand(access, ref, found, shape, steps, hint=hint)


def build_rows_kernel(plan: RowsPlan) -> tile.KernelOp:
    """The kernel of one fusion, not yet in a module."""
    structure = plan.structure
    outputs = [
        tile.RefType(len(groups), element_of(value))
        for groups, value in zip(plan.outputs, structure.results, strict=True)
    ]
    kernel = tile.KernelOp(plan.name, [operand.ref for operand in plan.operands], outputs, tile.ConfigAttr(plan.config))
    for operand, arg in zip(plan.operands, kernel.inputs, strict=True):
        arg.name_hint = operand.hint
    for arg in kernel.outputs:
        arg.name_hint = "y"
    _Writer(plan, kernel).write()
    inherit_location(kernel, structure.fusion)
    return kernel


@dataclass
class _Scope:
    """Where tiles are made: a block, the offsets of the reduced groups there, and the full tiles made so far."""

    build: Builder
    at: dict[Loops, SSAValue]
    tiles: dict[SSAValue, SSAValue] = field(default_factory=dict)


class _Writer:
    """Writes the body of one kernel. `rows`: tiles of values that run along no reduced loop, made once before the loops that use them."""

    def __init__(self, plan: RowsPlan, kernel: tile.KernelOp) -> None:
        self.plan, self.structure, self.kernel = plan, plan.structure, kernel
        self.rows: dict[SSAValue, SSAValue] = {}
        self.spread: dict[SSAValue, SSAValue] = {}
        kernel_build = Builder(InsertPoint.at_end(kernel.body.block))
        kernel_build.insert(tile.WaitPredecessorOp())
        self.over = self._reference()
        grid = kernel_build.insert(tile.ForTilesOp(self.over, plan.config.block))
        for number, arg in enumerate(grid.body.block.args):
            arg.name_hint = "ij"[number] if len(plan.groups) == 2 else f"i{number}"
        self.grid: dict[Loops, SSAValue] = dict(zip(plan.groups, grid.body.block.args, strict=True))
        self.outer = _Scope(Builder(InsertPoint.at_end(grid.body.block)), {})

    def _reference(self) -> SSAValue:
        """A ref that has all dims: the first such output, or else input."""
        found = [ref for ref, groups in zip(self.kernel.outputs, self.plan.outputs) if groups == self.plan.groups]
        found += [
            ref for ref, operand in zip(self.kernel.inputs, self.plan.operands) if operand.groups == self.plan.groups
        ]
        if not found:
            raise refuse(self.structure.fusion, "no operand and no result has all dims in the order of the kernel")
        return found[0]

    # --- the order of things

    def write(self) -> None:
        """Every reduction as soon as what it needs is known, then the stores."""
        structure = self.structure
        reductions = [op for op in structure.generics if reduction_loops(op)]
        for depth in range(1, 1 + max(structure.depth(op.res[0]) for op in reductions)):
            self._fold([op for op in reductions if structure.depth(op.res[0]) == depth])
        full = [number for number, value in enumerate(structure.results) if structure.is_full(value)]
        for number, value in enumerate(structure.results):
            if number not in full:
                self._store(number, self.row_value(value), self.outer)

        def body(scope: _Scope, carried: Sequence[SSAValue]) -> Sequence[SSAValue]:
            for number in full:
                self._store(number, self.full(structure.results[number], scope), scope)
            return []

        if full:
            self._loop([], body)

    def _loop(
        self, inits: Sequence[SSAValue], body: Callable[[_Scope, Sequence[SSAValue]], Sequence[SSAValue]]
    ) -> Sequence[SSAValue]:
        """Once for the whole row where it fits in a tile, else in a loop over its chunks that carries tiles."""
        reduced = [group for group in self.plan.groups if self.structure.is_reduced(group)]
        if self.plan.config.rows == "hold":
            self.outer.at = {group: self.grid[group] for group in reduced}
            return body(self.outer, inits)
        dims = [self.plan.groups.index(group) for group in reduced]
        steps = [self.plan.shape[1] if group == self.plan.column else 1 for group in reduced]
        loop = tile.ForOp(self.over, dims, steps, inits)
        for arg, hint in zip(loop.body.block.args, [*(f"k{n}" if n else "k" for n in range(len(dims)))]):
            arg.name_hint = hint
        scope = _Scope(Builder(InsertPoint.at_end(loop.body.block)), dict(zip(reduced, loop.offsets, strict=True)))
        scope.build.insert(tile.YieldOp(*body(scope, loop.iter_args)))
        return self.outer.build.insert(loop).results

    # --- reductions

    def _fold(self, reductions: Sequence[linalg.GenericOp]) -> None:
        """What these reductions give: each element of a tile takes what falls to it, then the columns are folded."""
        shape = self.plan.shape
        inits = [self._start(op, shape) for op in reductions]

        def body(scope: _Scope, carried: Sequence[SSAValue]) -> Sequence[SSAValue]:
            return [self._step(op, total, scope) for op, total in zip(reductions, carried, strict=True)]

        totals = self._loop(inits, body)
        for op, total in zip(reductions, totals, strict=True):
            total.name_hint = "acc"
            if self.plan.folds_columns:
                total = self._insert(self.outer, tile.ReduceOp(fold_of(op), total, [1]), op)
            self.rows[op.res[0]] = total

    def _start(self, op: linalg.GenericOp, shape: Sequence[int]) -> SSAValue:
        fill = op.outputs[0].owner
        assert isinstance(fill, linalg.FillOp)
        kind = tile.TileType(shape, element_of(op.res[0]))
        return self._insert(self.outer, tile.FillOp(constant_number(fill.inputs[0]), kind), op, "zero")

    def _step(self, op: linalg.GenericOp, total: SSAValue, scope: _Scope) -> SSAValue:
        """The body of a reduction on tiles; columns beyond the row keep what they have."""
        inputs, arguments = self._arguments(op, scope, full=True)
        masked = [self._inside(scope)] if self.plan.folds_columns else []
        result = tile.MapOp([*inputs, total, *masked], total.type)  # type: ignore[arg-type]
        inside = Builder(InsertPoint.at_end(result.body.block))
        args = list(result.body.block.args)
        before = args[len(inputs)]
        value = self._body(op, arguments, [*args[: len(inputs)]], before, inside)
        if masked:
            value = inside.insert(arith.SelectOp(args[-1], value, before)).result
        inside.insert(tile.YieldOp(value))
        return self._insert(scope, result, op)

    def _inside(self, scope: _Scope) -> SSAValue:
        """Which elements of the tile lie in the row."""
        groups = self.plan.groups
        indices = [scope.at.get(group, self.grid[group]) for group in groups]
        dims = [groups.index(self.plan.row), groups.index(self.plan.column)]
        kind = tile.TileType(self.plan.shape, i1)
        made = scope.build.insert(tile.InsideOp(self.over, indices, kind, dims)).result
        made.name_hint = "inside"
        return made

    # --- values

    def full(self, value: SSAValue, scope: _Scope) -> SSAValue:
        """The tile of a value, rows and columns, in a scope."""
        if not self.structure.is_full(value):
            return self._repeated(value)
        if value not in scope.tiles:
            owner = value.owner
            if value in self.structure.leaves:
                scope.tiles[value] = self._load(value, scope, full=True)
            else:
                assert isinstance(owner, linalg.GenericOp)
                scope.tiles[value] = self._map(owner, scope, full=True)
        return scope.tiles[value]

    def row_value(self, value: SSAValue) -> SSAValue:
        """The tile of a value that runs along no reduced loop, made before the loops."""
        if value not in self.rows:
            owner = value.owner
            if value in self.structure.leaves:
                self.rows[value] = self._load(value, self.outer, full=False)
            elif isinstance(owner, linalg.FillOp):
                kind = tile.TileType(self._row_shape(), element_of(value))
                self.rows[value] = self._insert(self.outer, tile.FillOp(constant_number(owner.inputs[0]), kind), owner)
            else:
                assert isinstance(owner, linalg.GenericOp)
                self.rows[value] = self._map(owner, self.outer, full=False)
        return self.rows[value]

    def _row_shape(self) -> Sequence[int]:
        return self.plan.shape[:1] if self.plan.folds_columns else self.plan.shape

    def _repeated(self, value: SSAValue) -> SSAValue:
        """A value of a row for all its columns."""
        made = self.row_value(value)
        if not self.plan.folds_columns:
            return made
        if value not in self.spread:
            kind = tile.TileType(self.plan.shape, element_of(value))
            self.spread[value] = self.outer.build.insert(tile.BroadcastOp(made, [0], kind)).result
        return self.spread[value]

    def _map(self, op: linalg.GenericOp, scope: _Scope, *, full: bool) -> SSAValue:
        """The body of an elementwise generic on tiles."""
        inputs, arguments = self._arguments(op, scope, full=full)
        shape = self.plan.shape if full else self._row_shape()
        result = tile.MapOp(inputs, tile.TileType(shape, element_of(op.res[0])))
        inside = Builder(InsertPoint.at_end(result.body.block))
        inside.insert(tile.YieldOp(self._body(op, arguments, list(result.body.block.args), None, inside)))
        return self._insert(scope, result, op)

    def _arguments(
        self, op: linalg.GenericOp, scope: _Scope, *, full: bool
    ) -> tuple[list[SSAValue], dict[SSAValue | Operation, int | Attribute]]:
        """The tiles that a body reads, and which of them (or which constant) stands for each of its arguments and counts."""
        inputs: list[SSAValue] = []
        standing: dict[SSAValue | Operation, int | Attribute] = {}
        for value, argument in zip(op.inputs, op.body.block.args, strict=False):
            if isinstance(value.owner, linalg.FillOp):
                standing[argument] = constant_number(value.owner.inputs[0])
                continue
            standing[argument] = len(inputs)
            inputs.append(self.full(value, scope) if full else self.row_value(value))
        for inner in op.body.block.ops:
            if isinstance(inner, arith.IndexCastOp) and isinstance(inner.input.owner, linalg.IndexOp):
                standing[inner] = len(inputs)
                inputs.append(self._count(op, inner, scope, full=full))
        return inputs, standing

    def _body(
        self,
        op: linalg.GenericOp,
        standing: dict[SSAValue | Operation, int | Attribute],
        tiles: Sequence[SSAValue],
        total: SSAValue | None,
        build: Builder,
    ) -> SSAValue:
        """Copy the scalar ops of a generic's body; what it yields."""
        values: dict[SSAValue, SSAValue] = {}
        for key, place in standing.items():
            target = key.results[0] if isinstance(key, Operation) else key
            values[target] = tiles[place] if isinstance(place, int) else _constant(place, build)
        if total is not None:
            values[op.body.block.args[-1]] = total
        for inner in op.body.block.ops:
            if isinstance(inner, linalg.YieldOp):
                return self._scalar(inner.operands[0], values, build)
            if isinstance(inner, linalg.IndexOp) or inner in standing:
                continue
            for operand in inner.operands:
                self._scalar(operand, values, build)
            build.insert(inner.clone(value_mapper=values))
        raise ValueError("a generic's body ends in linalg.yield")

    def _scalar(self, value: SSAValue, values: dict[SSAValue, SSAValue], build: Builder) -> SSAValue:
        """What stands for a scalar; a constant that stands outside of the body is copied."""
        if value not in values:
            if not isinstance(value.owner, arith.ConstantOp):
                raise refuse(self.structure.fusion, "a body counts in the type index")
            values[value] = _constant(value.owner.value, build)
        return values[value]

    def _count(self, op: linalg.GenericOp, cast: arith.IndexCastOp, scope: _Scope, *, full: bool) -> SSAValue:
        """The tile of a loop's index."""
        number = cast.input.owner
        assert isinstance(number, linalg.IndexOp)
        loop = self.structure.generic_loops[op][number.dim.value.data]
        element, plan = cast.result.type, self.plan
        if isinstance(element, IndexType) or loop is None or not isinstance(element, IntegerType) or not full:
            raise refuse(op, "it counts a dim of one element, or behind a reduction")
        group = next(group for group in plan.groups if loop in group)
        offset = scope.at.get(group, self.grid[group])
        kind = tile.TileType(plan.shape, element)
        if group in (plan.row, plan.column):
            return self._insert(scope, tile.IotaOp(int(group == plan.column), kind, offset), op)
        one = self._insert(scope, tile.IotaOp(0, tile.TileType([1], element), offset), op)
        return self._insert(scope, tile.BroadcastOp(one, [1], kind), op)

    # --- memory

    def _load(self, value: SSAValue, scope: _Scope, *, full: bool) -> SSAValue:
        """A tile of an operand: what its dims cover, repeated along the others."""
        plan = self.plan
        position = list(self.structure.leaves).index(value)
        operand, ref = plan.operands[position], self.kernel.inputs[position]
        along = (plan.row, plan.column) if full or not plan.folds_columns else (plan.row,)
        shape = plan.shape[: len(along)]
        indices = [self._offset(group, scope) for group in operand.groups]
        covered = [d for d, group in enumerate(along) if group in operand.groups]
        dims = [operand.groups.index(along[d]) for d in covered]
        kind = tile.TileType([shape[d] for d in covered] or [1], element_of(value))
        made = self._insert(scope, tile.LoadOp(ref, indices, kind, dims or [len(indices) - 1]), None, operand.hint)
        if kind.get_shape() == shape:
            return made
        whole = tile.TileType(shape, element_of(value))
        return self._insert(scope, tile.BroadcastOp(made, covered or [len(shape) - 1], whole), None)

    def _offset(self, group: Loops, scope: _Scope) -> SSAValue:
        if group in scope.at or group in self.grid:
            return scope.at.get(group, self.grid.get(group))  # type: ignore[return-value]
        return scope.build.insert(arith.ConstantOp(IntegerAttr.from_index_int_value(0))).result

    def _store(self, number: int, value: SSAValue, scope: _Scope) -> None:
        groups, output = self.plan.outputs[number], self.kernel.outputs[number]
        along = (self.plan.row, self.plan.column)
        dims = [groups.index(group) for group in along if group in groups]
        scope.build.insert(tile.StoreOp(value, output, [self._offset(group, scope) for group in groups], dims))

    def _insert(self, scope: _Scope, op: Operation, source: Operation | None, hint: str = "") -> SSAValue:
        if source is not None:
            inherit_location(op, source)
        scope.build.insert(op)
        op.results[0].name_hint = hint or None
        return op.results[0]


def _constant(value: Attribute, build: Builder) -> SSAValue:
    return build.insert(arith.ConstantOp(value)).result  # type: ignore[arg-type]
