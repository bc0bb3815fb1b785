"""`tile-split-reduction`: a product with a long reduction and few tiles is added up in parts, side by side, and a second kernel adds the parts.

```mlir
tile.kernel @fc(%x: !tile.ref<3xf16, plain>, %w: !tile.ref<3xf16, packed, constant>, %b: ..) -> (%y: !tile.ref<2xf16, plain>) config #tile.config<block = [128, 64], ..> {
  tile.for_tiles (%i, %j) of %y block [128, 64] {
    %acc = tile.for (%t, %k) of %x dims [1, 2] step [1, 64] iter (%c = %z) -> .. { load %x[%i, %t, %k], load %w[%j, %t, %k], mma }
    the epilogue, a store to %y
  }
}
%y = tile.apply @fc(%x, %w, %b) : (tensor<128x1x4096xf16>, ..)
```
becomes, with `parts = 4`,
```mlir
tile.kernel @fc_parts(%x: .., %w: ..) -> (%sums: !tile.ref<3xf32, plain>) config #tile.config<block = [1, 128, 64], ..> {
  tile.for_tiles (%part, %i, %j) of %sums block [1, 128, 64] {
    %acc = tile.for (%k) of %x dims [2] step [64] iter (%c = %z) -> .. { load %x[%i, %part, %k], load %w[%j, %part, %k], mma }
    tile.store %acc, %sums[%part, %i, %j] dims = [1, 2]
  }
}
tile.kernel @fc(%sums: !tile.ref<3xf32, plain>, %b: ..) -> (%y: ..) config #tile.config<block = [128, 64], warps = 8> {
  tile.for_tiles (%i, %j) of %y block [128, 64] {
    %acc = tile.for (%part) of %sums dims [0] step [1] iter (%c = %z) -> .. { load %sums[%part, %i, %j] dims = [1, 2], add }
    the epilogue, a store to %y
  }
}
%sums = tile.apply @fc_parts(%x as tensor<128x4x1024xf16>, %w likewise) : .. -> tensor<4x128x64xf32>
%y = tile.apply @fc(%sums, %b) : ..
```
A part is what a filter tap is to a convolution: the reduction's extent as parts times the rest, which is a view. So nothing is copied, and the same passes lower both kernels. Sums are in another order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import ClassVar

from xdsl.builder import Builder
from xdsl.context import Context
from xdsl.dialects import arith
from xdsl.dialects.builtin import ModuleOp, TensorType
from xdsl.ir import Block, BlockArgument, Operation, Region, SSAValue
from xdsl.rewriter import InsertPoint

from stepwell.dialects import graph, tile
from stepwell.dialects.numpy_types import element_bytes
from stepwell.dialects.tile import RefType, TileType
from stepwell.passes import Meaning, PassFailure, StepwellPass, inherit_location, names_of, remarks_of
from stepwell.passes.remarks import Remark
from stepwell.transforms.symbols import new_symbol, taken_symbols
from stepwell.transforms.tensors import shape_of

NAME = "tile-split-reduction"
UNIT = 16
"""Bytes that rows of a part are multiples of: what the copy engine asks of distances (CUDA driver API, cuTensorMapEncodeTiled)."""
ADDING_WARPS = 8
MOST_ELEMENTS = 64
"""Of a thread's tile in the kernel that adds: three tiles of it live at once."""


@dataclass(frozen=True)
class SplitReductionPass(StepwellPass):
    """Split the reduction of products on the tensor cores into `parts` (0: as many as each config's `split_k` says, one by default). Missed: reductions
    with filter taps, those that parts of whole 16 bytes do not divide in every application, and blocks that are too large to be added by one;
    their config says `split_k = 1` afterwards. Refused: fewer parts than none. Remarks: passed, missed."""

    parts: int = 0

    name = NAME
    level: ClassVar[str] = "tile"
    meaning: ClassVar[Meaning] = "reassociates"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        if self.parts < 0:
            reason = f"parts={self.parts}: a reduction has one part at least"
            raise PassFailure(reason, where=NAME, hint="parts=1 splits none, parts=0 as configs say")
        kernels = [kernel for kernel in op.ops if isinstance(kernel, tile.KernelOp) and kernel.config.data.uses_wgmma]
        for kernel in kernels:
            parts = self.parts or kernel.config.data.split_k
            kernel.config = tile.ConfigAttr(replace(kernel.config.data, split_k=1))
            if parts > 1:
                remarks_of(ctx).add(_try(op, kernel, parts))


def _try(module: ModuleOp, kernel: tile.KernelOp, parts: int) -> Remark:
    """Split one kernel, or say why not."""
    name = kernel.sym_name.data
    applies = [op for op in module.walk() if isinstance(op, tile.ApplyOp) and op.kernel.string_value() == name]
    reason = _obstacle(kernel, applies, parts)
    if reason:
        return Remark("missed", NAME, names_of(kernel), f"@{name}: {reason}")
    names, made = names_of(kernel), new_symbol(f"{name}_parts", taken_symbols(module), first=0)
    _split(kernel, applies, parts, made)
    return Remark(
        "passed",
        NAME,
        names,
        f"@{name}: the reduction is added up in {parts} parts, @{made}, then @{name} adds them",
    )


def _obstacle(kernel: tile.KernelOp, applies: Sequence[tile.ApplyOp], parts: int) -> str:
    """Why a kernel is not split; nothing when it can be."""
    found = _product(kernel)
    if found is None:
        return "it is no single loop over taps and channels with one product"
    a, b = found[1].a.owner, found[1].b.owner
    assert isinstance(a, tile.LoadOp) and isinstance(a.result.type, TileType) and isinstance(b, tile.LoadOp)
    if any(isinstance(load.source.type, RefType) and load.source.type.access.kind == "window" for load in (a, b)):
        return "its rows are pixels of a window"
    unit = parts * UNIT // element_bytes(a.result.type.element_type)
    for site in applies:
        for load in (a, b):
            shape = shape_of(site.inputs[_position(load)])
            if shape[1] != 1 or shape[2] % unit or not shape[2]:
                return f"a reduction of {shape[1]} x {shape[2]} is not {parts} parts of whole {UNIT} bytes"
    if prod(kernel.grid.get_block()) > MOST_ELEMENTS * 32 * ADDING_WARPS:
        return f"its block {list(kernel.grid.get_block())} is more than one of {32 * ADDING_WARPS} threads adds"
    return "" if applies else "nothing applies it"


def _position(load: tile.LoadOp) -> int:
    """Which ref of the kernel a load reads."""
    assert isinstance(load.source, BlockArgument)
    return load.source.index


def _product(kernel: tile.KernelOp) -> tuple[tile.ForOp, tile.MmaOp] | None:
    """The loop over taps and channels and its product, where the kernel is that and an epilogue."""
    loops = [op for op in kernel.walk() if isinstance(op, tile.ForOp)]
    products = [op for op in kernel.walk() if isinstance(op, tile.MmaOp)]
    if len(loops) != 1 or len(products) != 1 or loops[0].get_dims() != (1, 2) or len(loops[0].inits) != 1:
        return None
    loads = (products[0].a.owner, products[0].b.owner)
    inside = all(isinstance(load, tile.LoadOp) and load.parent is loops[0].body.block for load in loads)
    start = loops[0].inits[0].owner
    zero = isinstance(start, tile.FillOp) and float(start.value.value.data) == 0.0
    return (loops[0], products[0]) if inside and zero and len(kernel.grid.get_block()) == 2 else None


def _split(kernel: tile.KernelOp, applies: Sequence[tile.ApplyOp], parts: int, name: str) -> None:
    found = _product(kernel)
    assert found is not None
    loop, product = found
    loads = [value.owner for value in (product.a, product.b)]
    positions = [_position(load) for load in loads if isinstance(load, tile.LoadOp)]
    summed = product.result.type
    assert isinstance(summed, TileType)
    multiplying = _multiplying(kernel, name, loop, product, positions)
    adding = _adding(kernel, loop, summed, positions)
    block = kernel.parent_block()
    assert block is not None
    for made in (multiplying, adding):
        inherit_location(made, kernel)
        block.insert_op_before(made, kernel)
    for site in applies:
        _apply(site, multiplying, adding, positions, parts, summed)
    kernel.detach()
    kernel.erase()


def _named(kernel: tile.KernelOp, made: tile.KernelOp, refs: Sequence[SSAValue]) -> None:
    for ref, argument in zip(refs, made.body.block.args):
        argument.name_hint = ref.name_hint


def _multiplying(
    kernel: tile.KernelOp, name: str, loop: tile.ForOp, product: tile.MmaOp, positions: Sequence[int]
) -> tile.KernelOp:
    """The kernel of the parts: the loop over channels, for the part that the grid says."""
    refs = [kernel.inputs[position] for position in positions]
    summed = product.result.type
    assert isinstance(summed, TileType)
    config = replace(kernel.config.data, block=(1, *kernel.config.data.block))
    output = RefType(3, summed.element_type)
    made = tile.KernelOp(name, [ref.type for ref in refs], [output], tile.ConfigAttr(config))
    _named(kernel, made, refs)
    sums = made.outputs[0]
    sums.name_hint = "sums"
    grid = tile.ForTilesOp(sums, config.block)
    part, i, j = grid.body.block.args
    values: dict[SSAValue, SSAValue] = dict(zip(refs, made.inputs, strict=True))
    values.update(zip((*kernel.grid.body.block.args, loop.offsets[0]), (i, j, part), strict=True))
    start = loop.inits[0].owner
    assert isinstance(start, Operation)
    inner = tile.ForOp(values[loop.over], [2], [loop.get_steps()[1]], [_add(grid.body.block, start, values)])
    values |= dict(zip((loop.offsets[1], *loop.iter_args), inner.body.block.args, strict=True))
    for op in loop.body.block.ops:
        inner.body.block.add_op(op.clone(values))
    inner.carried[0].name_hint = loop.carried[0].name_hint
    store = tile.StoreOp(inner.carried[0], sums, [part, i, j], [1, 2])
    grid.body.block.add_ops([inner, store])
    wait = tile.WaitPredecessorOp()
    made.body.block.add_ops([wait, grid])
    for new, old in ((inner, loop), (store, product), (grid, kernel.grid), (wait, kernel.grid)):
        inherit_location(new, old)
    for old_arg, new_arg in ((loop.offsets[1], inner.offsets[0]), (loop.iter_args[0], inner.iter_args[0])):
        new_arg.name_hint = old_arg.name_hint
    for argument, hint in zip((part, i, j), ("part", "i", "j"), strict=True):
        argument.name_hint = hint
    return made


def _add(block: Block, op: Operation, values: dict[SSAValue, SSAValue]) -> SSAValue:
    copy = op.clone(values)
    block.add_op(copy)
    return copy.results[0]


def _adding(kernel: tile.KernelOp, loop: tile.ForOp, summed: TileType, positions: Sequence[int]) -> tile.KernelOp:
    """The kernel that adds the parts, with the epilogue."""
    others = [ref for ref in kernel.inputs if ref.index not in positions]
    config = tile.Config(block=kernel.config.data.block, warps=ADDING_WARPS)
    types = [RefType(3, summed.element_type), *(ref.type for ref in others)]
    made = tile.KernelOp(kernel.sym_name.data, types, [ref.type for ref in kernel.outputs], tile.ConfigAttr(config))
    values: dict[SSAValue, SSAValue] = dict(zip((*others, *kernel.outputs), made.body.block.args[1:], strict=True))
    for old, new in values.items():
        new.name_hint = old.name_hint
    sums = made.inputs[0]
    sums.name_hint = "sums"
    wait = tile.WaitPredecessorOp()
    grid = tile.ForTilesOp(values[kernel.grid.output], config.block)
    made.body.block.add_ops([wait, grid])
    values.update(zip(kernel.grid.body.block.args, grid.body.block.args, strict=True))
    for op in kernel.grid.body.block.ops:
        if op is not loop:
            grid.body.block.add_op(op.clone(values))
            continue
        adds = _sum(sums, grid.body.block.args, values[loop.inits[0]], summed)
        inherit_location(adds, loop)
        for inner in adds.body.block.ops:
            inherit_location(inner, loop)
        grid.body.block.add_op(adds)
        adds.carried[0].name_hint = loop.carried[0].name_hint
        values[loop.carried[0]] = adds.carried[0]
    for made_op in (wait, grid):
        inherit_location(made_op, kernel.grid)
    for old, new in zip(kernel.grid.body.block.args, grid.body.block.args, strict=True):
        new.name_hint = old.name_hint
    return made


def _sum(sums: SSAValue, offsets: Sequence[SSAValue], start: SSAValue, summed: TileType) -> tile.ForOp:
    """The loop over parts, each loaded and added."""
    loop = tile.ForOp(sums, [0], [1], [start])
    part, held = loop.body.block.args
    part.name_hint, held.name_hint = "part", "c"
    load = tile.LoadOp(sums, [part, *offsets], summed, [1, 2])
    body = Block(arg_types=[summed.element_type, summed.element_type])
    added = arith.AddfOp(body.args[0], body.args[1])
    body.add_ops([added, tile.YieldOp(added.result)])
    add = tile.MapOp([held, load.result], summed, Region(body))
    loop.body.block.add_ops([load, add, tile.YieldOp(add.result)])
    return loop


def _apply(
    site: tile.ApplyOp,
    multiplying: tile.KernelOp,
    adding: tile.KernelOp,
    positions: Sequence[int],
    parts: int,
    summed: TileType,
) -> None:
    """Both kernels in the place of one."""
    build = Builder(InsertPoint.before(site), operation_insertion_handler=[lambda made: inherit_location(made, site)])
    factors = [_in_parts(site.inputs[position], parts, build) for position in positions]
    (m, n) = shape_of(site.results[0])
    sums = build.insert(
        tile.ApplyOp(multiplying.sym_name.data, factors, [TensorType(summed.element_type, [parts, m, n])])
    )
    others = [value for position, value in enumerate(site.inputs) if position not in positions]
    whole = build.insert(
        tile.ApplyOp(adding.sym_name.data, [sums.results[0], *others], [result.type for result in site.results])
    )
    for old, new in zip(site.results, whole.results, strict=True):
        new.name_hint = old.name_hint
        old.replace_all_uses_with(new)
    site.detach()
    site.erase()


def _in_parts(value: SSAValue, parts: int, build: Builder) -> SSAValue:
    """[rows, 1, k] as [rows, parts, k / parts]: a view, or a step of a weight's recipe."""
    rows, _, k = shape_of(value)
    shape = [rows, parts, k // parts]
    if isinstance(value.owner, graph.WeightOp):
        return build.insert(graph.WeightOp(value.owner.ref.then(graph.StepAttr("reshape", shape)))).results[0]
    return build.insert(graph.ReshapeOp(value, shape)).results[0]


PASS = SplitReductionPass
