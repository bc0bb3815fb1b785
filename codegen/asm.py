"""Every inline-assembly string of the GPU back end, in one table of functions: PTX text and LLVM constraints.

Operands are written as LLVM counts them after vectors are taken apart (`stepwell.codegen.llvm_text_asm`): outputs first, then inputs, `$0` on.
Sources: PTX ISA 8.6, the instruction's own section.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from stepwell.types.elements import K_BYTES, operands_of
from stepwell.types.layouts import Fragment


@dataclass(frozen=True)
class Asm:
    """PTX text and constraints."""

    text: str
    constraints: str


@dataclass
class _Writer:
    """Numbers operands in the order in which they are declared and collects statements."""

    outputs: list[str] = field(default_factory=list)
    inputs: list[str] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)

    def done(self, *, memory: bool = True) -> Asm:
        """The finished block, in a scope of its own."""
        clobbers = ["~{memory}"] if memory else []
        return Asm("{ " + " ".join(self.lines) + " }", ",".join([*self.outputs, *self.inputs, *clobbers]))


def _list(start: int, count: int) -> str:
    return "{" + ", ".join(f"${start + i}" for i in range(count)) + "}"


# --- mbarriers

WAIT = Asm(
    "{ .reg .pred p; WAIT_${:uid}: mbarrier.try_wait.parity.shared::cta.b64 p, [$0], $1; @!p bra WAIT_${:uid}; }",
    "r,r,~{memory}",
)
"""Wait for the phase of parity $1; try_wait suspends the thread for a while by itself."""
EXPECT_BYTES = Asm("mbarrier.arrive.expect_tx.shared::cta.b64 _, [$0], $1;", "r,r,~{memory}")
EXPECT_MORE_BYTES = Asm("mbarrier.expect_tx.relaxed.cta.shared::cta.b64 [$0], $1;", "r,r,~{memory}")
ARRIVE = Asm("mbarrier.arrive.shared::cta.b64 _, [$0];", "r,~{memory}")
ARRIVE_IF = Asm("@$1 mbarrier.arrive.shared::cta.b64 _, [$0];", "r,b,~{memory}")
FENCE_BARRIER_INIT = Asm("fence.mbarrier_init.release.cluster;", "~{memory}")


# --- wgmma


def _tied(registers: int, total: str) -> str:
    letter = "r" if total == "s32" else "f"
    return ",".join([f"={letter}"] * registers + [str(i) for i in range(registers)])


UNIT = 16
"""Bytes that descriptors count in."""


def wgmma_begin(registers: int, total: str) -> Asm:
    """No instruction: accumulators pass through, so that LLVM moves no register write past the first fence."""
    return Asm("", _tied(registers, total))


def wgmma_wait(registers: int, pending: int, total: str = "f32") -> Asm:
    """Wait until at most `pending` groups run; with registers, they pass through and are final."""
    constraints = (_tied(registers, total) + "," if registers else "") + "~{memory}"
    return Asm(f"wgmma.wait_group.sync.aligned {pending};", constraints)


def wgmma(
    registers: int,
    element: str,
    moves_a: Sequence[int],
    moves_b: Sequence[int],
    total: str,
    *,
    transposed: bool = False,
    adds: bool = True,
) -> Asm:
    """One k-tile: fence, a product of 32 bytes of k for each of the moves, commit. Operands: accumulators of type `total` (f32 or s32; none where the first
    product `adds` nothing to them), descriptors of A and B, which the moves count bytes from; `transposed`: B is [k, n].

    Descriptors count 16 bytes (inside one swizzle row the hardware swizzles by address)."""
    a = registers * (1 + adds)
    b = a + 1
    lines = ["{ .reg .b64 a, b;", "wgmma.fence.sync.aligned;", f"mov.b64 a, ${a}; mov.b64 b, ${b};"]
    for step, (to_a, to_b) in enumerate(zip(moves_a, moves_b, strict=True)):
        if step:
            by_a, by_b = (to_a - moves_a[step - 1]) // UNIT, (to_b - moves_b[step - 1]) // UNIT
            lines.append(f"add.s64 a, a, {by_a}; add.s64 b, b, {by_b};")
        lines.append(_product(registers, element, "a", total, transposed, adds=adds or step > 0))
    lines.append("wgmma.commit_group.sync.aligned; }")
    return Asm(" ".join(lines), _accumulators(registers, total, adds) + ",l,l,~{memory}")


def _accumulators(registers: int, total: str, adds: bool) -> str:
    """Constraints: registers that pass through, or that are written before the operands have been read."""
    return _tied(registers, total) if adds else ",".join([f"=&{'r' if total == 's32' else 'f'}"] * registers)


def wgmma_registers(
    registers: int, element: str, moves_b: Sequence[int], *, transposed: bool = False, adds: bool = True
) -> Asm:
    """As `wgmma`, with A in four registers of two 16-bit elements for each product. Operands: accumulators, A's registers, the descriptor of B."""
    first = registers * (1 + adds)
    b = first + 4 * len(moves_b)
    lines = ["{ .reg .b64 b;", "wgmma.fence.sync.aligned;", f"mov.b64 b, ${b};"]
    for step, to_b in enumerate(moves_b):
        if step:
            lines.append(f"add.s64 b, b, {(to_b - moves_b[step - 1]) // UNIT};")
        held = _list(first + 4 * step, 4)
        lines.append(_product(registers, element, held, "f32", transposed, signs=", 1, 1", adds=adds or step > 0))
    lines.append("wgmma.commit_group.sync.aligned; }")
    operands = ",r" * (4 * len(moves_b)) + ",l,~{memory}"
    return Asm(" ".join(lines), _accumulators(registers, "f32", adds) + operands)


def _product(
    registers: int, element: str, a: str, total: str, transposed: bool, signs: str = "", *, adds: bool = True
) -> str:
    """One instruction: it adds, or writes, with both signs kept; only floats have signs here, only 16-bit operands may be transposed, and A only in
    shared memory."""
    bits = operands_of("wgmma")[element].bits
    shape = f"m64n{2 * registers}k{8 * K_BYTES // bits}.{total}.{element}.{element}"
    turn = f", {int(transposed)}" if bits == 16 else ""
    signs = signs or (", 1, 1, 0" if bits == 16 else "" if total == "s32" else ", 1, 1")
    return f"wgmma.mma_async.sync.aligned.{shape} {_list(0, registers)}, {a}, b, {int(adds)}{signs}{turn};"


# --- fragments


@dataclass(frozen=True)
class Run:
    """Contiguous elements of one thread: `count` registers from `register` on lie at `column` (past the thread's first column) of its
    `row` (past its first row)."""

    row: int
    column: int
    register: int
    count: int


def runs(fragment: Fragment, access: int) -> list[Run]:
    """A fragment's elements as accesses of `access` elements, rows in order; the same for every thread."""
    row0, column0 = fragment.place(0, 0)
    found = [
        Run(fragment.place(0, r)[0] - row0, fragment.place(0, r)[1] - column0, r, access)
        for r in range(0, fragment.registers, access)
    ]
    return sorted(found, key=lambda run: (run.row, run.column))


def _by_row(listed: Sequence[Run]) -> Iterator[tuple[int, list[Run]]]:
    for row in sorted({run.row for run in listed}):
        yield row, [run for run in listed if run.row == row]


@dataclass(frozen=True)
class _Moves:
    """Loads or stores of runs through a pointer; `bits` is 32, 16 or 8. Registers hold one element of 32 bits (`floats`: an f32), two of 16 or four of 8."""

    bits: int
    floats: bool

    @property
    def per_register(self) -> int:
        """Elements per 32-bit register."""
        return 32 // self.bits

    @property
    def letter(self) -> str:
        """The constraint of data registers."""
        return "f" if self.floats else "r"

    @property
    def kind(self) -> str:
        """The type of data registers."""
        return "f32" if self.floats else "b32"

    def registers(self, elements: int) -> int:
        """Registers that hold so many elements."""
        return -(-elements // self.per_register)

    def cleared(self, access: int, registers: int) -> list[str]:
        """What comes before loads of less than a register of 8-bit elements: their bits are joined one by one."""
        return [f"mov.b32 ${r}, 0;" for r in range(registers)] if self.bits == 8 and access < self.per_register else []

    def load(self, base: int, run: Run, address: str, fill: str | None = None) -> list[str]:
        """Fill the run's registers (outputs from `$base` on) with `fill` or 0, then load where predicate q holds."""
        if run.count < self.per_register:
            return self.load_part(base, run, address)
        first, count = base + run.register // self.per_register, run.count // self.per_register
        zero = "0f00000000" if self.floats else "0"
        lines = [f"mov.{self.kind} ${first + i}, {fill or zero};" for i in range(count)]
        return [*lines, f"@q ld.global{_vector(count)}.{self.kind} {_operand(first, count)}, {address};"]

    def load_part(self, base: int, run: Run, address: str, fill: str = "0") -> list[str]:
        """A load of less than a register; `fill` is a number or a register of 16 bits."""
        if self.bits == 16:
            return self._load_half(base, run, address, fill)
        register, shift, kind = base + run.register // 4, run.register % 4 * 8, f"u{8 * run.count}"
        lines = [f"mov.b16 h0, {fill};", f"@q ld.global.{kind} h0, {address};", "cvt.u32.u16 w, h0;"]
        return [*lines, f"shl.b32 w, w, {shift};", f"or.b32 ${register}, ${register}, w;"]

    def _load_half(self, base: int, run: Run, address: str, fill: str = "0") -> list[str]:
        register, half = base + run.register // 2, run.register % 2
        lines = [f"mov.b16 h{half}, {fill};", f"@q ld.global.b16 h{half}, {address};"]
        return lines + ([f"mov.b32 ${register}, {{h0, h1}};"] if half else [])

    def store(self, base: int, run: Run, address: str) -> list[str]:
        """Store the run's registers (inputs from `$base` on) where predicate q holds."""
        if run.count < self.per_register and self.bits == 8:
            register, shift = base + run.register // 4, run.register % 4 * 8
            lines = [f"shr.u32 w, ${register}, {shift};", "cvt.u16.u32 h0, w;"]
            return [*lines, f"@q st.global.b{8 * run.count} {address}, h0;"]
        if run.count < self.per_register:
            half = run.register % 2
            return [f"mov.b32 {{h0, h1}}, ${base + run.register // 2};", f"@q st.global.b16 {address}, h{half};"]
        first, count = base + run.register // self.per_register, run.count // self.per_register
        return [f"@q st.global{_vector(count)}.{self.kind} {address}, {_operand(first, count)};"]


_PARTS = {32: ".reg .b16 h0, h1", 16: ".reg .b16 h0, h1", 8: ".reg .b32 w; .reg .b16 h0"}
"""Registers that parts of a data register go through, by the bits of an element."""


def _vector(count: int) -> str:
    return f".v{count}" if count > 1 else ""


def _operand(first: int, count: int) -> str:
    return _list(first, count) if count > 1 else f"${first}"


def fragment_load(fragment: Fragment, bits: int, access: int, *, floats: bool) -> Asm:
    """Load a fragment; inputs: address of the thread's first element, bytes between its rows (of the smallest distance), rows and columns
    that are left in bounds from there."""
    moves = _Moves(bits, floats)
    registers = moves.registers(fragment.registers)
    writer = _Writer([f"=&{moves.letter}"] * registers, ["l", "l", "r", "r"])
    writer.lines += [f".reg .pred p, q; .reg .b64 a; {_PARTS[bits]};", *moves.cleared(access, registers)]
    for run, address in _addressed(writer, runs(fragment, access), registers, bits):
        writer.lines += moves.load(0, run, address)
    return writer.done()


def fragment_store(fragment: Fragment, bits: int, access: int, *, floats: bool) -> Asm:
    """Store a fragment; inputs: the registers (the last one used in part by an odd number of narrow elements), then as for `fragment_load`."""
    moves = _Moves(bits, floats)
    registers = moves.registers(fragment.registers)
    writer = _Writer([], [*[moves.letter] * registers, "l", "l", "r", "r"])
    writer.lines.append(f".reg .pred p, q; .reg .b64 a; {_PARTS[bits]};")
    for run, address in _addressed(writer, runs(fragment, access), registers, bits):
        writer.lines += moves.store(0, run, address)
    return writer.done()


def _addressed(writer: _Writer, listed: Sequence[Run], first: int, bits: int) -> Iterator[tuple[Run, str]]:
    """Each run with its address, after the code that sets predicate q: the row and the column are in bounds."""
    address, step, rows, columns = (f"${first + i}" for i in range(4))
    writer.lines.append(f"mov.b64 a, {address};")
    for number, (row, members) in enumerate(_by_row(listed)):
        if number:
            writer.lines.append(f"add.s64 a, a, {step};")
        writer.lines.append(f"setp.gt.s32 p, {rows}, {row};")
        for run in members:
            writer.lines.append(f"setp.gt.and.s32 q, {columns}, {run.column}, p;")
            yield run, f"[a+{run.column * bits // 8}]"


def store_matrices(columns: int, addresses: int, panel: int) -> Asm:
    """A warp's 16 rows of `columns` 16-bit elements to shared memory, 16 columns at once; inputs: the registers, two elements each, and this lane's
    address for each 16 columns of the first panel; panels hold `addresses` times 16 columns and lie `panel` bytes apart."""
    writer = _Writer([], ["r"] * (columns // 4 + addresses))
    for number, place in enumerate(_matrices(columns, addresses, panel)):
        writer.lines.append(f"stmatrix.sync.aligned.m8n8.x4.shared.b16 {place}, {_list(4 * number, 4)};")
    return writer.done()


def load_matrices(columns: int, addresses: int, panel: int) -> Asm:
    """The mirror of `store_matrices`: inputs are the addresses."""
    writer = _Writer(["=&r"] * (columns // 4), ["r"] * addresses)
    for number, place in enumerate(_matrices(columns, addresses, panel)):
        writer.lines.append(f"ldmatrix.sync.aligned.m8n8.x4.shared.b16 {_list(4 * number, 4)}, {place};")
    return writer.done()


def _matrices(columns: int, addresses: int, panel: int) -> Iterator[str]:
    """The address operand of each 16 columns; addresses stand behind the registers."""
    for number in range(columns // 16):
        offset = number // addresses * panel
        yield f"[${columns // 4 + number % addresses}" + (f"+{offset}]" if offset else "]")


def row_columns(fragment: Fragment) -> list[int]:
    """Registers of a fragment's first row: what `fragment_load_row` loads."""
    return [run.register for run in runs(fragment, 1) if run.row == 0]


def fragment_load_row(fragment: Fragment, bits: int, access: int, *, floats: bool) -> Asm:
    """Load the columns of the thread's first row, densely; inputs: address of the first, columns that are left in bounds from there."""
    moves, listed = _Moves(bits, floats), row_columns(fragment)
    registers = moves.registers(len(listed))
    writer = _Writer([f"=&{moves.letter}"] * registers, ["l", "r"])
    writer.lines += [f".reg .pred q; {_PARTS[bits]};", *moves.cleared(access, registers)]
    columns = [run.column for run in runs(fragment, 1) if run.row == 0]
    for position in range(0, len(listed), access):
        column = columns[position]
        writer.lines.append(f"setp.gt.s32 q, ${registers + 1}, {column};")
        run = Run(0, column, position, access)
        writer.lines += moves.load(0, run, f"[${registers}+{column * bits // 8}]")
    return writer.done()


def gather(count: int, width: int, bits: int, *, floats: bool) -> Asm:
    """`count` loads of `width` elements each; inputs: base address, element offsets, masks as i32, the fill as often as a register holds it."""
    moves = _Moves(bits, floats)
    registers = moves.registers(count * width)
    fill = registers + 1 + 2 * count
    writer = _Writer([f"=&{moves.letter}"] * registers, ["l", *["r"] * (2 * count), moves.letter])
    writer.lines += [f".reg .pred q; .reg .b64 a; {_PARTS[bits]}, z0, z1;", *moves.cleared(width, registers)]
    if width < moves.per_register:
        writer.lines.append(f"mov.b32 {{z0, z1}}, ${fill};")
    if bits == 8 and width == 1:
        writer.lines.append("and.b16 z0, z0, 255;")
    for i in range(count):
        offset, mask = registers + 1 + i, registers + 1 + count + i
        writer.lines.append(f"setp.ne.b32 q, ${mask}, 0; mad.wide.s32 a, ${offset}, {bits // 8}, ${registers};")
        run = Run(0, 0, i * width, width)
        half = width < moves.per_register
        writer.lines += moves.load_part(0, run, "[a]", "z0") if half else moves.load(0, run, "[a]", f"${fill}")
    return writer.done()


def scatter(count: int, width: int, bits: int, *, floats: bool) -> Asm:
    """The mirror of `gather`; inputs: the registers (the last one partly used where the elements fill no whole ones), base address, element offsets,
    masks as i32."""
    moves = _Moves(bits, floats)
    registers = moves.registers(count * width)
    writer = _Writer([], [*[moves.letter] * registers, "l", *["r"] * (2 * count)])
    writer.lines.append(f".reg .pred q; .reg .b64 a; {_PARTS[bits]};")
    for i in range(count):
        offset, mask = registers + 1 + i, registers + 1 + count + i
        writer.lines.append(f"setp.ne.b32 q, ${mask}, 0; mad.wide.s32 a, ${offset}, {bits // 8}, ${registers};")
        writer.lines += moves.store(0, Run(0, 0, i * width, width), "[a]")
    return writer.done()
