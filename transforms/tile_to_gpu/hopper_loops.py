"""Loops on Hopper: the persistent loop over output tiles, and loops over the dims of a ref.

A loop carries the accumulators that the tile loop carries, the cursors of the rings that its body touches, and those of its offsets that the body
uses; for a window also the offsets of the filter tap in input pixels.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from xdsl.dialects import arith
from xdsl.ir import BlockArgument, Operation, SSAValue

from stepwell.dialects import tile, warp
from stepwell.transforms.tile_to_gpu.emitter import Loop
from stepwell.transforms.tile_to_gpu.hopper_lowering import Cursor, Lowering
from stepwell.transforms.tile_to_gpu.hopper_products import begin
from stepwell.transforms.tile_to_gpu.hopper_rings import advance
from stepwell.transforms.tile_to_gpu.hopper_stores import finish_stores
from stepwell.transforms.tile_to_gpu.hopper_turns import for_tiles_of_copies


def rings_of(op: Operation) -> list[SSAValue]:
    """The rings whose slots the ops inside take, in the order in which they are met."""
    return list(
        dict.fromkeys(
            inner.ring for inner in op.walk() if isinstance(inner, tile.FetchOp | tile.AwaitOp | tile.AcquireOp)
        )
    )


def lower_for_tiles(lowering: Lowering, op: tile.ForTilesOp) -> None:
    """Block b computes the tiles b, b + grid, b + 2 grid ..; with `first 1` only its first one."""
    emit, role = lowering.emit, lowering.current
    if len(op.get_block()) not in (2, 3):
        given = f"has {len(op.get_block())} dims"
        raise lowering.refuse(
            op, f"{given}: tiles of a kernel of roles have rows and columns, and lie in planes at most"
        )
    if role.first is None:
        role.first = emit.insert(warp.BlockIdOp()).result
        role.first.name_hint = "first"
    if op.first is not None:
        _count_ahead(lowering, op)
        _bind_tile(lowering, op, role.first)
        lowering.block(op.body.block)
        return
    all_tiles = _for_tiles if role.copy is None else for_tiles_of_copies
    for number in all_tiles(lowering, op, rings_of(op)):
        _bind_tile(lowering, op, number)
        lowering.block(op.body.block)
    if any(isinstance(inner, tile.DrainOp) for inner in op.walk()):
        finish_stores(lowering)


def _for_tiles(lowering: Lowering, op: tile.ForTilesOp, rings: list[SSAValue]) -> Iterator[SSAValue]:
    """The loop over the block's tiles: yields the number of the tile while the body is lowered."""
    emit, role = lowering.emit, lowering.current
    assert role.first is not None
    grid = emit.insert(warp.GridDimOp()).result
    grid.name_hint = "grid"
    for ring in rings:
        _start(lowering, op, ring)
    cursors = [role.cursors[ring] for ring in rings]
    with emit.loop((role.first, lowering.parameters["tiles"], grid), _carried(cursors), "tile") as loop:
        _take(cursors, loop.carried)
        yield loop.index
        for ring, cursor in zip(rings, cursors, strict=True):
            if cursor.taken:
                advance(lowering, lowering.rings[ring], cursor)
        loop.next.update(_carried(cursors))


def _count_ahead(lowering: Lowering, op: tile.ForTilesOp) -> None:
    """How many slots the loops inside fill ahead: their first iterations, or all where there are fewer."""
    emit = lowering.emit
    for loop in [inner for inner in op.body.block.ops if isinstance(inner, tile.ForOp)]:
        if loop.first is None:
            raise lowering.refuse(loop, "stands among the first tiles without a number of first iterations")
        ahead = emit.minimum(emit.i32(loop.first.value.data), lowering.parameters["steps"], "ahead")
        lowering.current.ahead |= dict.fromkeys(rings_of(loop), ahead)


def _start(lowering: Lowering, op: tile.ForTilesOp, ring: SSAValue) -> None:
    """Before the first slot: who fills the ring may go on at once, who reads waits for the first phase."""
    emit, role = lowering.emit, lowering.current
    fills = any(isinstance(inner, tile.FetchOp | tile.PublishOp) and inner.ring is ring for inner in op.walk())
    issued = emit.i32(0) if ring in role.ahead else None
    role.cursors[ring] = Cursor(emit.i32(0), emit.i32(1 if fills else 0), issued)


def _carried(cursors: Iterable[Cursor]) -> dict[str, SSAValue]:
    return {f"{name}{number or ''}": value for number, cursor in enumerate(cursors) for name, value in cursor.carried()}


def _take(cursors: Iterable[Cursor], held: dict[str, SSAValue]) -> None:
    """Point cursors to what a loop carries or results in."""
    for number, cursor in enumerate(cursors):
        suffix = number or ""
        cursor.slot, cursor.parity = held[f"slot{suffix}"], held[f"parity{suffix}"]
        cursor.issued = None if cursor.issued is None else held[f"issued{suffix}"]


def _bind_tile(lowering: Lowering, op: tile.ForTilesOp, number: SSAValue) -> None:
    """Element offsets of an output tile, and of this warpgroup's rows; in planes, the number of the plane first; for windows the input pixel of its first output pixel."""
    emit, parameters, role = lowering.emit, lowering.parameters, lowering.current
    arguments = op.body.block.args
    if len(arguments) == 3:
        plane = emit.insert(warp.DivideOp(number, parameters["plane_mul"], parameters["plane_shift"])).result
        plane.name_hint = arguments[0].name_hint or "plane"
        lowering.values[arguments[0]] = plane
        number = emit.sub(number, emit.mul(plane, parameters["plane"]))
    outer = emit.insert(warp.DivideOp(number, parameters["inner_mul"], parameters["inner_shift"])).result
    inner = emit.sub(number, emit.mul(outer, parameters["inner"]))
    columns_outside = lowering.kernel.config.data.order == "columns"
    places = (inner, outer) if columns_outside else (outer, inner)
    for argument, place, extent, name in zip(arguments[-2:], places, op.get_block()[-2:], "ij", strict=True):
        lowering.values[argument] = emit.mul(place, emit.i32(extent), name)
    if role.group_row is not None:
        role.row = emit.add(lowering.values[arguments[-2]], role.group_row, "row")
    for fetch in op.walk():
        if isinstance(fetch, tile.FetchOp) and fetch.via.data == "tma_im2col":
            role.corners[fetch.indices[0]] = _corner(lowering, lowering.values[fetch.indices[0]])


def _corner(lowering: Lowering, pixel: SSAValue) -> tuple[SSAValue, SSAValue, SSAValue]:
    """Upper left input pixel (w, h, n) of an output pixel."""
    emit, parameters = lowering.emit, lowering.parameters
    image = emit.insert(warp.DivideOp(pixel, parameters["image_mul"], parameters["image_shift"])).result
    image.name_hint = "image"
    inside = emit.sub(pixel, emit.mul(image, parameters["image"]))
    row = emit.insert(warp.DivideOp(inside, parameters["row_mul"], parameters["row_shift"])).result
    column = emit.sub(inside, emit.mul(row, parameters["row"]))
    h = emit.sub(emit.mul(row, parameters["stride_h"]), parameters["pad_h"], "h")
    w = emit.sub(emit.mul(column, parameters["stride_w"]), parameters["pad_w"], "w")
    return w, h, image


def lower_for(lowering: Lowering, op: tile.ForOp) -> None:
    """All offsets in one loop over the number of the iteration; with `first n` at most n iterations, whose fetches fill slots 0 .. n - 1."""
    if op.reverse is not None:
        raise lowering.refuse(op, "runs backwards: loops of sm_90a run forwards")
    emit, role, zero = lowering.emit, lowering.current, lowering.emit.i32(0)
    steps = _steps(lowering, op) if op.is_limited else lowering.parameters["steps"]
    rings = rings_of(op)
    cursors: dict[SSAValue, Cursor] = {}
    if op.first is None:
        cursors = {ring: role.cursors[ring] for ring in rings}
    else:
        steps = role.ahead[rings[0]]
    state = {f"acc{number or ''}": value for number, value in enumerate(_inits(lowering, op))}
    offsets = _Offsets(lowering, op)
    with emit.loop((zero, steps, emit.i32(1)), state | _carried(cursors.values()) | offsets.start(), "step") as loop:
        _take(cursors.values(), loop.carried)
        if op.first is not None:
            role.cursors |= {ring: Cursor(loop.index, zero) for ring in rings}
        lowering.values.update(zip(op.iter_args, list(loop.carried.values())[: len(state)], strict=True))
        offsets.bind(loop)
        role.hoisted, role.iteration, role.issued = op.first is not None, loop.index, []
        yielded = lowering.block(op.body.block)
        role.hoisted, role.iteration, role.issued = False, None, []
        for ring, cursor in cursors.items():
            advance(lowering, lowering.rings[ring], cursor)
        loop.next.update(zip(state, (lowering.values[value] for value in yielded), strict=True))
        loop.next.update(_carried(cursors.values()))
        offsets.advance(loop)
    lowering.values.update(zip(op.carried, list(loop.results.values())[: len(state)], strict=True))
    _take(cursors.values(), loop.results)


def _steps(lowering: Lowering, op: tile.ForOp) -> SSAValue:
    """How many iterations a range has, none where it ends before it begins."""
    emit, end = lowering.emit, lowering.parameters["channels"]
    if op.bound is not None and op.beyond is not None:
        end = emit.minimum(end, emit.add(lowering.values[op.bound], emit.i32(op.beyond.value.data)), "end")
    step, low = op.get_steps()[0], 0 if op.low is None else op.low.value.data
    rounded = emit.add(end, emit.i32(step - 1 - low))
    whole = emit.insert(arith.MaxSIOp(rounded, emit.i32(0))).result
    return emit.insert(arith.DivUIOp(whole, emit.i32(step))).result


def _inits(lowering: Lowering, op: tile.ForOp) -> list[SSAValue]:
    """Initial values; accumulators of products in flight begin here."""
    pairs = zip(op.inits, op.iter_args, strict=True)
    return [
        begin(lowering, lowering.values[init]) if tile.in_flight(argument) else lowering.values[init]
        for init, argument in pairs
    ]


class _Offsets:
    """The offsets of a loop as numbers that it carries: the last dim goes on in each iteration, the one before it when that starts over."""

    def __init__(self, lowering: Lowering, op: tile.ForOp) -> None:
        self.lowering, self.op = lowering, op
        steps = op.get_steps()
        if len(steps) > 2 or any(step != 1 for step in steps[:-1]):
            raise lowering.refuse(op, f"runs in steps {list(steps)}: one dim, or taps one by one and another dim")
        fetches = [inner for inner in op.walk() if isinstance(inner, tile.FetchOp) and inner.via.data == "tma_im2col"]
        self.windowed = [inner.indices[1] for inner in fetches if inner.indices[1] in op.offsets]
        used = [argument for argument in op.offsets if argument.uses]
        self.arguments: Sequence[BlockArgument] = op.offsets[op.offsets.index(used[0]) :] if used else ()
        self.names = [argument.name_hint or f"offset{argument.index}" for argument in self.arguments]

    def start(self) -> dict[str, SSAValue]:
        """All zero, but for a range that begins later."""
        names = [*reversed(self.names), *(["tap_w", "tap_h"] if self.windowed else [])]
        return dict.fromkeys(names, self.lowering.emit.i32(0 if self.op.low is None else self.op.low.value.data))

    def bind(self, loop: Loop) -> None:
        """What the body sees."""
        for argument, name in zip(self.arguments, self.names, strict=True):
            self.lowering.values[argument] = loop.carried[name]
        for tap in self.windowed:
            self.lowering.current.taps[tap] = (loop.carried["tap_w"], loop.carried["tap_h"])

    def advance(self, loop: Loop) -> None:
        """The next offsets."""
        if not self.names:
            return
        emit, last = self.lowering.emit, self.names[-1]
        more = emit.add(loop.carried[last], emit.i32(self.op.get_steps()[-1]))
        done = emit.compare("sge", more, self.lowering.parameters["channels"])
        loop.next[last], wrapped = emit.select(done, emit.i32(0), more), emit.as_i32(done)
        for outer in self.names[:-1]:
            loop.next[outer] = emit.add(loop.carried[outer], wrapped)
        if self.windowed:
            self._advance_tap(loop, wrapped)

    def _advance_tap(self, loop: Loop, wrapped: SSAValue) -> None:
        """Along w, then along h."""
        emit, parameters = self.lowering.emit, self.lowering.parameters
        w = emit.add(loop.carried["tap_w"], emit.mul(wrapped, parameters["dilation_w"]))
        line = emit.compare("sge", w, parameters["end_w"])
        loop.next["tap_w"] = emit.select(line, emit.i32(0), w)
        loop.next["tap_h"] = emit.add(loop.carried["tap_h"], emit.mul(emit.as_i32(line), parameters["dilation_h"]))
