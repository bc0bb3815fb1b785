"""Run an entry of PTX text: its arguments, its grid, the blocks that are chosen, and what came out, with the simulator's reports."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from stepwell.codegen.ptx_interpreter.decoder import decode_entry
from stepwell.codegen.ptx_interpreter.kernel import Kernel
from stepwell.codegen.ptx_interpreter.memory import INSTRUCTIONS, PARAMETERS, Memory, bases_of
from stepwell.codegen.ptx_interpreter.registers import Files
from stepwell.codegen.ptx_interpreter.syntax import Entry, Module
from stepwell.codegen.ptx_interpreter.threads import Threads
from stepwell.dialects.hopper.simulator.agents import WARP, WARPGROUP
from stepwell.dialects.hopper.simulator.block import Block
from stepwell.dialects.hopper.simulator.faults import Fault, OutOfBoundsFault, PredecessorFault
from stepwell.dialects.hopper.simulator.launch import Blocks, Report, choose_blocks
from stepwell.dialects.hopper.simulator.memory import GlobalBuffer
from stepwell.dialects.hopper.simulator.tma import TensorMap
from stepwell.runtime.errors import UsageError

Argument = GlobalBuffer | TensorMap | int | float
Extents = tuple[int, int, int]
SHARED_LIMIT = 227 * 1024
"""Bytes of shared memory that a block of sm_90 may have (CUDA C++ Programming Guide, "Compute Capabilities")."""


def run_entry(
    module: Module,
    name: str,
    arguments: Sequence[Argument],
    grid: Extents,
    *,
    block: Extents | None = None,
    shared: int = 0,
    blocks: Blocks = "all",
    seed: int = 0,
    source: str = "",
    waits_for_predecessor: bool = True,
    limit: int = INSTRUCTIONS,
) -> Report:
    """Run blocks of entry `name` on `arguments`: buffers (their addresses are passed), tensor maps and numbers in the order of its parameters.

    Writes into the buffers. `block` defaults to the entry's own bound, `shared` is the dynamic shared memory in bytes, `seed` chooses the order in which
    warpgroups run, copies land and waits give up; `source` names the kernel's origin in reports; `waits_for_predecessor`: a block in which nobody waits for the
    predecessor is a fault; `limit` is how many instructions a warpgroup may execute. Raises a `Fault` that says where, or PtxRefused."""
    if name not in module.entries:
        raise UsageError(f"the PTX has no entry {name}", hint=f"it has {', '.join(module.entries) or 'none'}")
    kernel = decode_entry(module, name)
    extents = block or (kernel.entry.threads, 1, 1)
    threads = math.prod(extents)
    _check_launch(kernel, threads, shared)
    report = Report(name, math.prod(grid), choose_blocks(blocks, math.prod(grid), seed))
    buffers = _buffers(arguments)
    memory = _memory(kernel.entry, arguments, buffers, limit)
    for allocation in {id(buffer.memory): buffer.memory for buffer in buffers}.values():
        allocation.begin_launch()
    files = Files(kernel.slots, kernel.entry.registers, threads)
    with np.errstate(all="ignore"):
        for number in report.blocks:
            running = Block(number, threads, kernel.shared + shared, seed * 1_000_003 + number, report.statistics)
            try:
                _run_block(kernel, running, memory, files, grid, extents, seed)
                if waits_for_predecessor:
                    _check_predecessor(running)
            except Fault as fault:
                named = f" ({source})" if source else ""
                place = f"@{name}{named}, block {number} of {report.grid}"
                fault.where = place + (f", {fault.where}" if fault.where else "")
                raise
    for buffer in buffers:
        written = buffer.written()
        if written.any():
            report.written[buffer.name] = float(written.mean())
    return report


def _check_launch(kernel: Kernel, threads: int, shared: int) -> None:
    entry = kernel.entry
    if threads < 1 or threads % WARP or (entry.threads and threads > entry.threads):
        raise UsageError(
            f"entry {entry.name} is launched with {threads} threads a block; it takes whole warps, at most {entry.threads or 1024} threads"
        )
    if kernel.shared + shared > SHARED_LIMIT:
        raise OutOfBoundsFault(
            f"{kernel.shared + shared} bytes of shared memory; a block may have {SHARED_LIMIT}", where=f"@{entry.name}"
        )


def _buffers(arguments: Sequence[Argument]) -> list[GlobalBuffer]:
    held = [a.buffer if isinstance(a, TensorMap) else a for a in arguments if isinstance(a, TensorMap | GlobalBuffer)]
    return list({(id(b.memory), b.offset, b.count): b for b in held}.values())


def _memory(entry: Entry, arguments: Sequence[Argument], buffers: Sequence[GlobalBuffer], limit: int) -> Memory:
    """Parameter bytes as the driver lays them out, and who lies where."""
    if len(arguments) != len(entry.parameters):
        raise UsageError(f"entry {entry.name} takes {len(entry.parameters)} arguments, {len(arguments)} are given")
    last = entry.parameters[-1] if entry.parameters else None
    data, maps = bytearray(last.offset + last.size if last else 0), {}
    bases = bases_of(list({id(b.memory): b.memory for b in buffers}.values()))
    for index, (parameter, argument) in enumerate(zip(entry.parameters, arguments, strict=True)):
        if isinstance(argument, TensorMap):
            if parameter.size != 128:
                raise UsageError(f"entry {entry.name}: argument {index} is a tensor map, the parameter is no 128 bytes")
            maps[PARAMETERS + parameter.offset] = argument
            continue
        value = bases[id(argument.memory)] + argument.offset if isinstance(argument, GlobalBuffer) else argument
        data[parameter.offset : parameter.offset + parameter.size] = _encoded(value, parameter.size, entry.name, index)
    return Memory(bytes(data), maps, buffers, bases, limit)


def _encoded(value: Any, size: int, name: str, index: int) -> bytes:
    if size > 8:
        raise UsageError(f"entry {name}: argument {index} is a number, the parameter has {size} bytes")
    if isinstance(value, float):
        return np.array(value, f"<f{size}").tobytes()
    return (int(value) & ((1 << 8 * size) - 1)).to_bytes(size, "little")


def _run_block(
    kernel: Kernel, block: Block, memory: Memory, files: Files, grid: Extents, extents: Extents, seed: int
) -> None:
    """Threads of a kernel that never waits run all together, others by warpgroup."""
    threads = math.prod(extents)
    files.begin()
    for axis, extent, total in zip("xyz", extents, grid, strict=True):
        files.set_special(f"ntid.{axis}", extent)
        files.set_special(f"nctaid.{axis}", total)
    for axis, value in zip("xyz", np.unravel_index(block.number, grid[::-1])[::-1], strict=True):
        files.set_special(f"ctaid.{axis}", value)
    for axis, values in zip("xyz", np.unravel_index(np.arange(threads), extents[::-1])[::-1], strict=True):
        files.set_special(f"tid.{axis}", values)
    width = WARPGROUP if kernel.waits else threads
    parts = [
        Threads(kernel, block, memory, files, first, min(width, threads - first), seed)
        for first in range(0, threads, width)
    ]
    block.run({f"warpgroup {i}": part.run() for i, part in enumerate(parts)})


def _check_predecessor(block: Block) -> None:
    if not any(block.has_waited(block.agents.known[w]) for w in range(block.agents.warps)):
        raise PredecessorFault("no thread of the block waits for the predecessor, so completion is not transitive")
