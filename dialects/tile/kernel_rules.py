"""What the verifier of `tile.kernel` asks of a whole kernel: one wait, one grid, each output written once, residences,
a legal schedule."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from xdsl.dialects.builtin import ModuleOp, StringAttr
from xdsl.ir import BlockArgument, Operation, Region
from xdsl.utils.exceptions import VerifyException

from stepwell.dialects.tile._syntax import extents_text
from stepwell.dialects.tile.attributes import RefType, Residence, TileType
from stepwell.dialects.tile.config import WARPGROUP, violations
from stepwell.dialects.tile.layouts import WgmmaAAttr
from stepwell.dialects.tile.ops_compute import MmaOp
from stepwell.dialects.tile.ops_copy import DrainOp, FetchOp
from stepwell.dialects.tile.ops_inside import InsideOp
from stepwell.dialects.tile.ops_loop import ForOp, ForTilesOp, WaitPredecessorOp
from stepwell.dialects.tile.ops_ring import RingOp
from stepwell.dialects.tile.ops_role import RoleOp, roles_in
from stepwell.dialects.tile.ops_rows import ForRowsOp
from stepwell.dialects.tile.ops_tiles import LoadOp, StoreOp
from stepwell.dialects.tile.registers import Kernel as KernelBody
from stepwell.dialects.tile.registers import facts_of
from stepwell.dialects.tile.ring_machine_rules import machine_reasons
from stepwell.dialects.tile.ring_rules import ring_reasons
from stepwell.dialects.tile.whole_rules import whole_write_reasons
from stepwell.types.targets import SM_90A


class Kernel(KernelBody, Protocol):
    """What the rules ask of a `tile.kernel`, whose op is made after them."""

    @property
    def sym_name(self) -> StringAttr: ...
    @property
    def inputs(self) -> tuple[BlockArgument, ...]: ...
    @property
    def outputs(self) -> tuple[BlockArgument, ...]: ...
    @property
    def grid(self) -> ForTilesOp: ...


def target_name_of(op: Operation) -> str | None:
    """The kernel target that the enclosing module states: `sm_90a`, or for `cpu` what `stepwell.cpu` says; None when it
    states none."""
    module: Operation | None = op
    while module is not None and not (isinstance(module, ModuleOp) and "stepwell.target" in module.attributes):
        module = module.parent_op()
    if module is None:
        return None
    target = module.attributes["stepwell.target"]
    if target == StringAttr("cpu"):
        target = module.attributes.get("stepwell.cpu", StringAttr("x86-64-v4"))
    return target.data if isinstance(target, StringAttr) else None


def check_kernel(kernel: Kernel) -> None:
    """Raise for the first broken rule, naming the kernel."""
    for rule in (_refs, _roles, _wait, _grid, _rows, _writes, _window_fills, _residences, _rings, _schedule):
        for reason in rule(kernel):
            raise VerifyException(f"tile.kernel @{kernel.sym_name.data}: {reason}")


def _refs(kernel: Kernel) -> Iterator[str]:
    for arg in (*kernel.inputs, *kernel.outputs):
        if not isinstance(arg.type, RefType):
            yield f"parameter {arg.index} is {arg.type}: parameters are !tile.ref"
    if not kernel.outputs:
        yield "it has no output"
    for arg in kernel.outputs:
        if isinstance(arg.type, RefType) and (arg.type.access.kind != "plain" or arg.type.access.constant):
            yield f"output {arg.index - len(kernel.inputs)} is {arg.type}: outputs are plain and not constant"


def _roles(kernel: Kernel) -> Iterator[str]:
    roles = roles_in(kernel.body)
    if not roles:
        return
    for op in kernel.body.block.ops:
        if not isinstance(op, RoleOp | RingOp):
            yield f"{op.name} stands beside roles: with roles everything but rings is in one of them"
    labels = [role.label.data for role in roles]
    if len(set(labels)) != len(labels):
        yield f"roles {labels}: each has a name of its own"
    if len({role.registers is None for role in roles}) > 1:
        yield "some roles have a register budget and some have none: give every role one, or none"
    groups, warps = sum(role.groups for role in roles), kernel.config.data.warps
    if groups * WARPGROUP != warps:
        yield f"its roles take {groups} warpgroups of {WARPGROUP} warps, the config has warps = {warps}"
    budgets = [role.groups * 32 * WARPGROUP * role.registers.value.data for role in roles if role.registers is not None]
    if sum(budgets) > SM_90A.registers:
        yield f"its roles want {sum(budgets)} registers, a multiprocessor has {SM_90A.registers}: lower a budget"


def _scopes(kernel: Kernel) -> tuple[tuple[str, Region], ...]:
    """What runs as one flow: the roles with their names, or the kernel."""
    roles = roles_in(kernel.body)
    return tuple((f'role "{role.label.data}" ', role.body) for role in roles) or (("it ", kernel.body),)


def _wait(kernel: Kernel) -> Iterator[str]:
    for title, scope in _scopes(kernel):
        ops = list(scope.walk())
        waits = [position for position, op in enumerate(ops) if isinstance(op, WaitPredecessorOp)]
        touches = scope is kernel.body or any(_touches_written(op) for op in ops)
        if len(waits) > 1 or (touches and not waits):
            yield f"{title}has {len(waits)} tile.wait_predecessor: every kernel waits exactly once, or completion is not transitive"
            return
        for op in ops[: waits[0]] if waits else ():
            if isinstance(op, StoreOp | DrainOp):
                yield f"{title}stores before tile.wait_predecessor"
            if _touches_written(op) and isinstance(op, LoadOp | FetchOp):
                yield f"{title}loads from {op.source.type} before tile.wait_predecessor: only constant refs may be read there"


def _touches_written(op: Operation) -> bool:
    """Whether an op reads what the kernel before may have written, or writes."""
    if isinstance(op, LoadOp | FetchOp):
        return isinstance(op.source.type, RefType) and not op.source.type.access.constant
    return isinstance(op, StoreOp | DrainOp)


def _grid(kernel: Kernel) -> Iterator[str]:
    for title, scope in _scopes(kernel):
        grids = [op for op in scope.block.ops if isinstance(op, ForTilesOp)]
        whole = [op for op in grids if op.first is None]
        if len(whole) != 1:
            yield f"{title}has {len(whole)} tile.for_tiles: the grid is one"
            return
        for grid in grids:
            if grid.output not in kernel.outputs and not kernel.config.data.takes_whole:
                yield "tile.for_tiles runs over an output of the kernel"
            if grid.get_block() != kernel.config.data.block:
                yield f"tile.for_tiles has block {extents_text(grid.get_block())}, the config {extents_text(kernel.config.data.block)}"
            if grid.output is not kernel.grid.output:
                yield f"{title}runs over the tiles of another output than the last role"


def _writes(kernel: Kernel) -> Iterator[str]:
    block = kernel.config.data.block
    for output in kernel.outputs:
        uses = [use.operation for use in output.uses if not isinstance(use.operation, ForTilesOp | ForOp | InsideOp)]
        stores = [op for op in uses if isinstance(op, StoreOp | DrainOp)]
        if len(stores) != 1 or len(uses) != 1:
            yield f"output {output.index - len(kernel.inputs)} is used by {len(uses)} ops besides the grid: it is written by one tile.store, and nothing else"
            return
        store = stores[0]
        if kernel.config.data.takes_whole and isinstance(store, StoreOp):
            yield from whole_write_reasons(store, kernel.grid)
            continue
        rows = store.parent_op()
        grid = rows.parent_op() if isinstance(rows, ForRowsOp) else rows
        if not isinstance(grid, ForTilesOp) or grid.first is not None:
            yield f"{store.name} stands directly in tile.for_tiles: in a loop it would write its elements again"
            return
        offsets, extents = list(grid.body.block.args), list(block)
        if isinstance(rows, ForRowsOp):
            if rows.start is not offsets[-2] or rows.count != extents[-2]:
                yield f"tile.for_rows runs over {rows.count} rows from another offset: a block of {list(block)} has {extents[-2]}, from its own"
                return
            offsets[-2], extents[-2] = rows.offset, 1
        if tuple(store.indices) != tuple(offsets):
            yield f"{store.name} writes at the offsets of tile.for_tiles, or blocks would overlap or leave gaps"
        assert isinstance(store.tile.type, TileType)
        written = dict(zip(store.get_dims(), store.tile.type.get_shape(), strict=True))
        if any(written.get(dim, 1) != extent for dim, extent in enumerate(extents)):
            yield f"{store.name} writes {store.tile.type} in a block of {list(block)}: the whole block is written"
    for ref in kernel.inputs:
        if any(not isinstance(use.operation, LoadOp | FetchOp | ForOp | InsideOp | ForTilesOp) for use in ref.uses):
            yield f"input {ref.index} is used otherwise than by tile.load, tile.fetch, tile.inside and loops"


def _loads(ref: BlockArgument) -> list[LoadOp]:
    return [use.operation for use in ref.uses if isinstance(use.operation, LoadOp)]


def _window_fills(kernel: Kernel) -> Iterator[str]:
    for ref in kernel.inputs:
        assert isinstance(ref.type, RefType)
        if ref.type.access.kind == "window" and len({load.fill for load in _loads(ref)}) > 1:
            yield f"window input {ref.index} is loaded with different fills: a window has one"


_OPERANDS = {"fma": (Residence.IN_PLACE, Residence.PACKED), "wgmma": (Residence.RING, Residence.RING)}


def _rows(kernel: Kernel) -> Iterator[str]:
    """Rows of a block of rows and columns, on a CPU: threads of a GPU hold parts of many rows."""
    rows = [op for op in kernel.body.walk() if isinstance(op, ForRowsOp)]
    target = target_name_of(kernel.grid)
    if rows and len(kernel.config.data.block) < 2:
        yield f"tile.for_rows in a block of {list(kernel.config.data.block)}: it has columns alone"
    elif rows and target is not None and not target.startswith("x86"):
        yield f"tile.for_rows goes row by row: kernels of {target} hold tiles of many rows"


def _residences(kernel: Kernel) -> Iterator[str]:
    config = kernel.config.data
    products = [op for op in kernel.body.walk() if isinstance(op, MmaOp)]
    if bool(products) != (config.mma != "none"):
        yield f"mma = {config.mma} and the body has {len(products)} tile.mma"
        return
    wanted = _OPERANDS["wgmma" if config.uses_wgmma else "fma"]
    for product in products:
        for name, operand, home in zip("ab", (product.a, product.b), wanted, strict=True):
            assert isinstance(operand.type, TileType)
            in_fragment = name == "a" and isinstance(operand.type.layout, WgmmaAAttr)
            computed = (
                operand.type.home is Residence.REGS
                and not operand.type.has_layout
                and not isinstance(operand.owner, LoadOp)
            )
            if operand.type.home is not home and not (config.uses_wgmma and (in_fragment or computed)):
                yield f"mma = {config.mma} reads operand {name} from a {home.value} tile, here it is {operand.type.home.value}"
    if config.uses_wgmma:
        yield from _copies(config.copy, products)
    operands = {operand for product in products for operand in (product.a, product.b)}
    for op in kernel.body.walk():
        if not isinstance(op, LoadOp) or op.result in operands:
            continue
        assert isinstance(op.result.type, TileType)
        if op.result.type.home is not Residence.REGS:
            yield f"a {op.result.type.home.value} tile is loaded for something else than tile.mma: load it into regs"


def _copies(copy: str, products: list[MmaOp]) -> Iterator[str]:
    """The tensor maps behind a ring: im2col for windows, and only they fill outside, with zeros."""
    for load in [op for product in products for op in (product.a.owner, product.b.owner) if isinstance(op, LoadOp)]:
        assert isinstance(load.source.type, RefType)
        if float(load.fill.value.data) != 0.0:
            yield f"a ring is loaded with fill {load.fill.value.data}: tensor copies fill with zeros"
    for product in products:
        if not isinstance(product.a.owner, LoadOp) or not isinstance(product.a.owner.source.type, RefType):
            continue
        kind = product.a.owner.source.type.access.kind
        if copy == ("tma" if kind == "window" else "tma_im2col"):
            yield f"copy = {copy} does not fit a {kind} operand: tma_im2col is for windows, tma for the rest"


def _rings(kernel: Kernel) -> Iterator[str]:
    yield from ring_reasons(kernel.body)
    if not any(isinstance(op, RingOp) for op in kernel.body.block.ops):
        loops = [op for op in kernel.body.walk() if isinstance(op, ForOp)]
        ranges = any(loop.is_limited for loop in loops) and not kernel.config.data.uses_wgmma
        if ranges or any(loop.first is not None for loop in loops):
            yield "tile.for over a range, backwards or over first iterations stands in kernels with rings: others run over whole dims"
    if target_name_of(kernel.grid) == SM_90A.name:
        config = kernel.config.data
        yield from machine_reasons(kernel.body, 32 * config.warps, config.blocks_per_multiprocessor)


def _schedule(kernel: Kernel) -> Iterator[str]:
    target = target_name_of(kernel.grid)
    yield from violations(kernel.config.data, target, facts_of(kernel, target))
