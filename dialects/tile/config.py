"""`#tile.config`: the schedule of one kernel as data, and the rules that make one legal on a target, each with its
reason."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from math import prod

from xdsl.ir import Data
from xdsl.irdl import irdl_attr_definition
from xdsl.parser import AttrParser
from xdsl.printer import Printer

from stepwell.dialects.tile._syntax import WHOLE, extents_text, parse_extents
from stepwell.types.elements import operands_of
from stepwell.types.targets import COMPILED, SM_90A, Target, machine_of

MMA_KINDS = ("none", "fma", "wgmma")
COPY_KINDS = ("direct", "pointer_table", "tma", "tma_im2col", "pack")
RING_COPIES = ("tma", "tma_im2col", "pack")
FORMS = ("tiles", "loops")
ROWS = ("stream", "hold")
EDGES = ("separate", "masked")

WARPGROUP = 4  # warps
RING_ALIGNMENT = 1024
"""A 128-byte swizzle repeats every 1024 bytes; alignment and barriers take at most this much beside the ring."""
REGISTERS_FOR_TILES = 200
"""Of 232 per consumer thread after setmaxnreg: the rest holds addresses, descriptors and loop state."""


@dataclass(frozen=True)
class Config:
    """How a kernel is scheduled. `block`: extents of the output tile, one per output dim, `*` (0) for a dim that no block cuts. `k`: elements of the
    reduction per stage. `stages`: depth of the shared-memory ring. `warps`: per block, the producer's included.
    `order`: how tiles follow each other. `copy`: how operands are fetched. `mma`: the matrix instruction. `swizzle`:
    bytes of the shared-memory swizzle, 0 without. `epilogue`: results go to memory from registers, or staged in shared memory. `form`: loops computes element by element, in blocks of so many (`tile.loops`; on sm_90a a thread for each). `blocks_per_multiprocessor`: those that run on one at a time. `copies`: how often the multiplying role is played, its copies in turn. `rows`: where a block takes a dim whole, it streams by in chunks of `k`, or a tile of `k` holds it. `edges`: on a CPU blocks at an edge have code of their own beside that of whole blocks, or one code with masks serves all. `split_k`: parts in which the
    reduction is added up, side by side (`tile-split-reduction`)."""

    block: tuple[int, ...]
    k: int = 1
    stages: int = 1
    warps: int = 1
    cluster: tuple[int, ...] = (1, 1)
    order: str = "rows"
    copy: str = "direct"
    split_k: int = 1
    mma: str = "none"
    epilogue: str = "direct"
    swizzle: int = 0
    form: str = "tiles"
    blocks_per_multiprocessor: int = 1
    copies: int = 1
    rows: str = "stream"
    edges: str = "separate"

    def __str__(self) -> str:
        shown = (f for f in fields(self) if f.name == "block" or getattr(self, f.name) != f.default)
        return ", ".join(f"{f.name} = {_value_text(getattr(self, f.name))}" for f in shown)

    @property
    def consumers(self) -> int:
        """Consumer warpgroups: with wgmma the first warpgroup produces."""
        return self.warps // WARPGROUP - 1 if self.uses_wgmma else 0

    @property
    def uses_wgmma(self) -> bool:
        """Whether a matrix product runs on the tensor cores of sm_90a."""
        return self.mma == "wgmma"

    @property
    def takes_whole(self) -> bool:
        """Whether blocks take a dim whole."""
        return WHOLE in self.block

    @property
    def cut(self) -> tuple[int, ...]:
        """The block without its whole dims."""
        return tuple(extent for extent in self.block if extent != WHOLE)

    @property
    def threads(self) -> int:
        """Threads that hold register tiles."""
        return 32 * WARPGROUP * self.consumers if self.uses_wgmma else 32 * self.warps


def _value_text(value: object) -> str:
    return extents_text(value) if isinstance(value, tuple) else str(value)


_CHOICES = {
    "order": ("rows", "columns"),
    "copy": COPY_KINDS,
    "mma": MMA_KINDS,
    "epilogue": ("direct", "staged"),
    "form": FORMS,
    "rows": ROWS,
    "edges": EDGES,
}
_LISTS = ("block", "cluster")


@irdl_attr_definition
class ConfigAttr(Data[Config]):
    """`#tile.config<block = [128, 64], k = 32, mma = wgmma>`: a `Config`; keys at their default are not
    printed."""

    name = "tile.config"

    @classmethod
    def parse_parameter(cls, parser: AttrParser) -> Config:
        values: dict[str, object] = {}
        known = {f.name for f in fields(Config)}

        def entry() -> None:
            key = parser.parse_identifier()
            if key not in known:
                parser.raise_error(f"#tile.config has no key '{key}': it has {', '.join(sorted(known))}")
            if key in values:
                parser.raise_error(f"#tile.config gives '{key}' twice")
            parser.parse_punctuation("=")
            values[key] = _parse_value(parser, key)

        parser.parse_comma_separated_list(parser.Delimiter.ANGLE, entry)
        if "block" not in values:
            parser.raise_error("#tile.config needs 'block', the extents of the output tile")
        return Config(**values)  # type: ignore[arg-type]

    def print_parameter(self, printer: Printer) -> None:
        printer.print_string(f"<{self.data}>")


def _parse_value(parser: AttrParser, key: str) -> object:
    if key in _CHOICES:
        return parser.parse_keyword_in(_CHOICES[key], f" as {key}")
    if key in _LISTS:
        return tuple(parse_extents(parser))
    return parser.parse_integer(allow_boolean=False, allow_negative=False)


@dataclass(frozen=True)
class Facts:
    """What a config is judged against: widths of the matrix operands (bytes, 0 without), bytes of one ring stage,
    32-bit registers per thread (CUDA) or vector registers (CPU) that live register tiles take at the worst place; as MLIR
    spells them, the element type of the matrix operands, and those of the refs; warpgroups of the role that multiplies (0
    before roles are split: all but the first)."""

    operand_bytes: int = 0
    stage_bytes: int = 0
    registers: int = 0
    operand: str = ""
    elements: tuple[str, ...] = ()
    multipliers: int = 0


def violations(config: Config, target: str | None, facts: Facts = Facts()) -> Iterator[str]:
    """Why `config` is illegal on `target` (None: not known, only the rules of every target), one sentence per broken
    rule."""
    yield from _general(config)
    machine = machine_of(target)
    if target is not None and (machine is None or not machine.family):
        yield f"the target {target} is not one of {', '.join(COMPILED)}"
        return
    if config.edges != "separate" and machine is not None and not machine.vector_registers:
        yield f"edges = {config.edges}: whole blocks and those at an edge are told apart on CPUs only"
    if config.form == "loops":
        yield from _loops(config, machine)
        return
    if config.uses_wgmma:
        if machine is not None and "wgmma" not in machine.products:
            yield f"{config.mma} is an instruction of sm_90a and the target is {target}: use mma = {' or '.join(machine.products)}"
        yield from _wgmma(config, facts, SM_90A)
        return
    if config.epilogue != "direct":
        yield f"epilogue = {config.epilogue}: results are staged by kernels with wgmma only"
    if machine is not None and machine.vector_registers:
        yield from _vectors(config, machine, facts)
    elif machine is not None:
        yield from _simt(config, facts, machine)


def _general(config: Config) -> Iterator[str]:
    if not any(config.block) or min(config.block) < WHOLE:
        yield f"block = {extents_text(config.block)} needs one positive extent per output dim, or * for the whole of it, and one that is cut"
    if any(extent > 1 for extent in config.cut[:-2]):
        yield f"block = {extents_text(config.block)}: only the last two dims are blocked"
    if config.rows != "stream" and not config.takes_whole:
        yield f"rows = {config.rows}: its block takes no dim whole"
    if config.takes_whole and (config.mma != "none" or config.form != "tiles"):
        yield f"block = {extents_text(config.block)}: blocks with whole dims are of tiles without a matrix product"
    for key in ("k", "stages", "warps", "blocks_per_multiprocessor", "copies", "split_k"):
        if getattr(config, key) < 1:
            yield f"{key} = {getattr(config, key)} must be at least 1"
    if config.swizzle not in (0, 32, 64, 128):
        yield f"swizzle = {config.swizzle} is not a width of the hardware: 32, 64 or 128 bytes"
    if prod(config.cluster) != 1:
        yield f"cluster = {list(config.cluster)}: no lowering forms clusters, leave [1, 1]"
    if config.split_k > 1 and not config.uses_wgmma:
        yield f"split_k = {config.split_k}: products on the tensor cores are added up in parts, others are not: leave 1"


def _loops(config: Config, machine: Target | None) -> Iterator[str]:
    if config != Config(block=config.block[:1], form="loops"):
        yield "form = loops takes a block of one extent, the elements of a tile, and nothing else"
    threads = machine.max_threads if machine is not None else 0
    if threads and config.block and (config.block[0] % 32 or not 32 <= config.block[0] <= threads):
        yield f"block = {list(config.block)}: a kernel of loops has one thread for each element of a block, 32 to {threads} in whole warps"


def _wgmma(config: Config, facts: Facts, machine: Target) -> Iterator[str]:
    rows, columns = config.block[-2:] if len(config.block) >= 2 else (0, 0)
    if config.warps % WARPGROUP or config.warps < 2 * WARPGROUP:
        yield f"warps = {config.warps}: wgmma needs whole warpgroups of 4, one producer and at least one consumer (8 or 12)"
        return
    if len(config.block) < 2:
        yield f"block = {list(config.block)}: a wgmma kernel writes rows and columns"
    consumers = facts.multipliers or config.consumers
    if rows != 64 * consumers:
        yield f"{rows} rows are not 64 for each of {consumers} consumer warpgroups: wgmma has M = 64"
    if columns % 8 or not 8 <= columns <= 256:
        yield f"{columns} columns: the N of wgmma is a multiple of 8 from 8 to 256"
    if config.copy not in RING_COPIES:
        yield f"copy = {config.copy}: the ring of a wgmma kernel is filled by {', '.join(RING_COPIES)}"
    if config.stages < 2:
        yield f"stages = {config.stages}: a ring needs at least 2"
    if facts.operand and not machine.multiplies(facts.operand, config.mma):
        taken = (row.name for row in operands_of(config.mma).values())
        yield f"{config.mma} does not multiply {facts.operand}: it takes {', '.join(taken)}"
    if facts.operand_bytes and config.k * facts.operand_bytes != config.swizzle:
        yield f"k = {config.k} is {config.k * facts.operand_bytes} bytes: a row of a stage is as long as the swizzle ({config.swizzle} bytes)"
    ring = config.stages * facts.stage_bytes + RING_ALIGNMENT
    if facts.stage_bytes and ring > machine.shared_bytes:
        yield f"{config.stages} stages of {facts.stage_bytes} bytes and {RING_ALIGNMENT} beside them exceed {machine.shared_bytes} bytes of shared memory"
    yield from _elements(facts, machine)
    yield from _thread_registers(facts)


def _elements(facts: Facts, machine: Target) -> Iterator[str]:
    for element in facts.elements:
        if element not in machine.tile_elements:
            yield f"tiles of {machine.processor} hold {' and '.join(machine.tile_elements)}, not {element}: a tile.loops takes every element type"


def _thread_registers(facts: Facts) -> Iterator[str]:
    if facts.registers > REGISTERS_FOR_TILES:
        yield f"live register tiles take {facts.registers} registers of each thread, {REGISTERS_FOR_TILES} are left for them: use a smaller block"


def _simt(config: Config, facts: Facts, machine: Target) -> Iterator[str]:
    if config.mma == "fma":
        yield f"mma = fma is the vector instruction of the CPU: on {machine.processor} use wgmma or none"
    if config.copy != "direct":
        yield f"copy = {config.copy}: a kernel without mma reads with copy = direct on {machine.processor}"
    if 32 * config.warps > machine.max_threads:
        yield f"warps = {config.warps}: a block has at most {machine.max_threads} threads"
    if config.stages != 1 or config.swizzle:
        yield "stages and swizzle describe the ring of a wgmma kernel: leave them out without one"
    yield from _elements(facts, machine)
    yield from _thread_registers(facts)


def _vectors(config: Config, machine: Target, facts: Facts) -> Iterator[str]:
    target, registers, width = machine.processor, machine.vector_registers, machine.vector_bytes
    if config.warps != 1 or config.stages != 1 or config.swizzle:
        yield f"warps, stages and swizzle are for CUDA and the target is {target}: leave them out"
    if config.copy not in machine.copies:
        yield f"copy = {config.copy}: a CPU kernel reads with copy = {' or '.join(machine.copies)}"
    lanes = width // 4
    if config.block and config.block[-1] % lanes:
        yield f"{config.block[-1]} columns are not whole vectors of {lanes} floats"
    if facts.registers > registers:
        yield f"register tiles take {facts.registers} vector registers of {width} bytes and {target} has {registers}: use a smaller block"
