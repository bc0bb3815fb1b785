"""Run a kernel: its arguments, its grid, the blocks that are chosen, and what came out."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from xdsl.dialects.builtin import IntegerType

from stepwell.dialects import hopper, warp
from stepwell.dialects.hopper.simulator import exchange_ops, hopper_ops, store_ops, warp_ops
from stepwell.dialects.hopper.simulator.agents import WARPGROUP
from stepwell.dialects.hopper.simulator.block import Block, Statistics
from stepwell.dialects.hopper.simulator.code import Code
from stepwell.dialects.hopper.simulator.faults import DescriptorFault, Fault, PredecessorFault, WriteTwiceFault
from stepwell.dialects.hopper.simulator.memory import GlobalBuffer
from stepwell.dialects.hopper.simulator.threads import CONTROL, Threads
from stepwell.dialects.hopper.simulator.tma import TensorMap
from stepwell.dialects.numpy_types import numpy_dtype
from stepwell.runtime.errors import UsageError

SIMPLE = {**warp_ops.SIMPLE, **hopper_ops.SIMPLE, **store_ops.SIMPLE, **exchange_ops.SIMPLE}
WAITING = {**warp_ops.BLOCKING, **hopper_ops.BLOCKING, **store_ops.BLOCKING}
Argument = GlobalBuffer | TensorMap | int
Blocks = str | Sequence[int]


@dataclass
class Report:
    """What a launch did: the blocks that were run, counts, and which share of each written buffer they wrote."""

    kernel: str
    grid: int
    blocks: tuple[int, ...]
    statistics: Statistics = field(default_factory=Statistics)
    written: dict[str, float] = field(default_factory=dict)

    def __str__(self) -> str:
        s = self.statistics
        shares = ", ".join(f"{name} {100 * share:.0f} %" for name, share in self.written.items())
        return (
            f"@{self.kernel}: {len(self.blocks)} of {self.grid} blocks, {s.copies} copies of {s.copied_bytes} bytes, "
            f"{s.products} products, {s.waits} waits; written: {shares or 'nothing'}"
        )


def choose_blocks(blocks: Blocks, grid: int, seed: int = 0) -> tuple[int, ...]:
    """Block numbers from `all`, a list of numbers, or words separated by commas: `first`, `last`, `edge` (the last three, where ragged
    tiles lie), `random:N`, or a number."""
    if not isinstance(blocks, str):
        chosen = {int(number) for number in blocks}
    elif blocks == "all":
        return tuple(range(grid))
    else:
        chosen = set()
        for word in blocks.split(","):
            chosen |= _blocks_of_word(word.strip(), grid, seed)
    if outside := [number for number in chosen if not 0 <= number < grid]:
        raise UsageError(f"block {outside[0]} does not exist: the grid has {grid} blocks")
    return tuple(sorted(chosen))


def _blocks_of_word(word: str, grid: int, seed: int) -> set[int]:
    match word.split(":"):
        case ["first"]:
            return {0}
        case ["last"]:
            return {grid - 1}
        case ["edge"]:
            return set(range(max(0, grid - 3), grid))
        case ["random", count] if count.isdigit():
            return set(random.Random(seed).sample(range(grid), min(int(count), grid)))
        case [number] if number.isdigit():
            return {int(number)}
    raise UsageError(f"blocks '{word}': say all, first, last, edge, random:N or a number, separated by commas")


def simulate_kernel(
    kernel: warp.KernelOp, arguments: Sequence[Argument], grid: int, *, blocks: Blocks = "all", seed: int = 0
) -> Report:
    """Run blocks of `kernel` (warp and hopper dialects) on `arguments`: buffers, tensor maps and integers in the order of its parameters.

    Writes into the buffers. `seed` chooses the order in which roles run and copies land. Raises a `Fault` that says where."""
    name = kernel.sym_name.data
    report = Report(name, grid, choose_blocks(blocks, grid, seed))
    held = bind_arguments(kernel, arguments)
    buffers = _buffers(arguments)
    for memory in {id(buffer.memory): buffer.memory for buffer in buffers}.values():
        memory.begin_launch()
    code = Code(SIMPLE, {**WAITING, **CONTROL})
    with np.errstate(all="ignore"):
        for number in report.blocks:
            _run_block(kernel, code, held, grid, number, seed, report.statistics)
    for buffer in buffers:
        written = buffer.written()
        if written.any():
            report.written[buffer.name] = float(written.mean())
    return report


def check_complete(report: Report, outputs: Sequence[GlobalBuffer]) -> None:
    """After all blocks have run, every element of every output must be written."""
    for buffer in outputs:
        missing = buffer.missing()
        if missing.any():
            raise WriteTwiceFault(
                f"{int(missing.sum())} of {buffer.count} elements of {buffer.name} are not written, first {int(np.argmax(missing))}",
                where=f"@{report.kernel}",
            )


def bind_arguments(kernel: warp.KernelOp, arguments: Sequence[Argument]) -> list[object]:
    """The values of the kernel's parameters; a fault where an argument is not what the parameter's type says."""
    name = kernel.sym_name.data
    if len(arguments) != len(kernel.args):
        raise UsageError(f"kernel @{name} takes {len(kernel.args)} arguments, {len(arguments)} are given")
    held: list[object] = []
    for index, (parameter, argument) in enumerate(zip(kernel.args, arguments, strict=True)):
        match parameter.type, argument:
            case warp.GlobalType(), GlobalBuffer() if argument.dtype == numpy_dtype(parameter.type.element):
                held.append(argument)
            case hopper.TensorMapType(), TensorMap():
                _check_map(parameter.type, argument, f"@{name}, argument {index}")
                held.append(argument)
            case IntegerType(), int() | np.integer():
                held.append(np.array([argument], numpy_dtype(parameter.type)))
            case _:
                raise UsageError(
                    f"kernel @{name}: argument {index} is {argument!r:.120}; the parameter is {parameter.type}"
                )
    return held


def _check_map(wanted: hopper.TensorMapType, given: TensorMap, where: str) -> None:
    box = (given.im2col.channels, given.im2col.pixels) if given.im2col else given.box
    kind = "im2col" if given.im2col else "tiled"
    says = (kind, box, given.swizzle, given.buffer.dtype)
    needs = (wanted.kind.data, wanted.extents, wanted.swizzle.data, numpy_dtype(wanted.element))
    if says != needs:
        raise DescriptorFault(f"the tensor map says {says}, the kernel relies on {needs}", where=where)


def _buffers(arguments: Sequence[Argument]) -> list[GlobalBuffer]:
    held = [a.buffer if isinstance(a, TensorMap) else a for a in arguments if not isinstance(a, int)]
    return list({(id(b.memory), b.offset, b.count): b for b in held}.values())


def _run_block(
    kernel: warp.KernelOp,
    code: Code,
    arguments: Sequence[object],
    grid: int,
    number: int,
    seed: int,
    statistics: Statistics,
) -> None:
    """Threads of a kernel that never waits run in lockstep all together, others by warpgroup."""
    threads = kernel.threads.value.data
    block = Block(number, threads, kernel.shared.value.data, seed * 1_000_003 + number, statistics)
    waits = any(type(op) in WAITING for op in kernel.walk())
    width = WARPGROUP if waits else threads
    body = kernel.body.blocks[0]
    parts = [Threads(block, code, grid, first, min(width, threads - first)) for first in range(0, threads, width)]
    try:
        for part in parts:
            part.bind(body.args, arguments)
        block.run({f"warpgroup {i}": part.run(body) for i, part in enumerate(parts)})
        if not any(block.has_waited(block.agents.known[w]) for w in range(block.agents.warps)):
            raise PredecessorFault("no thread of the block waits for the predecessor, so completion is not transitive")
    except Fault as fault:
        fault.where = f"@{kernel.sym_name.data}, block {number} of {grid}" + (f", {fault.where}" if fault.where else "")
        raise
