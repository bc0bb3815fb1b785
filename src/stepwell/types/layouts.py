"""Layouts as values: which thread and register holds which element, where a byte lies after a swizzle, how pixels are numbered.

A `Layout` maps 0 .. size-1 to offsets by mixed-radix digits: digit i counts to `sizes[i]` (the first varies fastest) and moves the
offset by `strides[i]`. Laws, which the tests check: a compact layout is a bijection of range(size); `compose` is function composition;
`inverse` undoes a compact layout. The algebra is CuTe's (NVIDIA CUTLASS, "CuTe layout algebra"), restricted to flat integer tuples.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod


class LayoutError(ValueError):
    """Two layouts do not fit: a digit of one is split by the other, or an inverse does not exist."""


@dataclass(frozen=True)
class Layout:
    """Mixed-radix digits `sizes` (first fastest), each with its stride."""

    sizes: tuple[int, ...]
    strides: tuple[int, ...]

    def __post_init__(self) -> None:
        if len(self.sizes) != len(self.strides):
            raise LayoutError(f"{len(self.sizes)} sizes but {len(self.strides)} strides")
        if any(size < 1 for size in self.sizes):
            raise LayoutError(f"sizes must be positive, got {self.sizes}")

    @property
    def size(self) -> int:
        """How many indices the layout maps."""
        return prod(self.sizes)

    def __call__(self, index: int) -> int:
        """The offset of `index`."""
        offset = 0
        for size, stride in zip(self.sizes, self.strides, strict=True):
            index, digit = divmod(index, size)
            offset += digit * stride
        return offset

    def __iter__(self) -> Iterator[int]:
        return (self(index) for index in range(self.size))

    def is_compact(self) -> bool:
        """True when the layout permutes range(size)."""
        expected = 1
        for stride, size in sorted((st, sz) for sz, st in zip(self.sizes, self.strides, strict=True) if sz > 1):
            if stride != expected:
                return False
            expected *= size
        return True

    def inverse(self) -> Layout:
        """The layout that undoes this one; raises `LayoutError` unless it is compact."""
        if not self.is_compact():
            raise LayoutError(f"{self} is no permutation, so it has no inverse")
        places, place = [], 1
        for size, stride in zip(self.sizes, self.strides, strict=True):
            places.append((stride, size, place))
            place *= size
        ordered = sorted((stride, size, place) for stride, size, place in places if size > 1)
        return Layout(tuple(size for _, size, _ in ordered), tuple(place for _, _, place in ordered))

    def compose(self, first: Layout) -> Layout:
        """The layout index -> self(first(index)); raises `LayoutError` where a digit of `first` would be split unevenly."""
        modes = [
            mode for size, stride in zip(first.sizes, first.strides, strict=True) for mode in self._walk(size, stride)
        ]
        return Layout(tuple(size for size, _ in modes), tuple(stride for _, stride in modes))

    def _walk(self, size: int, step: int) -> list[tuple[int, int]]:
        """The modes that `size` steps of `step` in this layout's domain pass through."""
        if size == 1 or step == 0:
            return [(size, 0)]
        modes: list[tuple[int, int]] = []
        for own, stride in zip(self.sizes, self.strides, strict=True):
            if step >= own and step % own == 0:
                step //= own
                continue
            if own % step:
                raise LayoutError(f"a step of {step} splits a digit of size {own}")
            taken = min(size, own // step)
            if size % taken:
                raise LayoutError(f"{size} steps of {step} end inside a digit of size {own}")
            modes.append((taken, stride * step))
            size, step = size // taken, 1
            if size == 1:
                return modes
        if size > 1:
            raise LayoutError(f"{size} more steps run past the end of {self}")
        return modes


@dataclass(frozen=True)
class Fragment:
    """A rows x cols tile spread over threads: `layout` maps (register fastest, then thread) to the row-major index in the tile.

    `width` registers in a row are contiguous columns: the widest access that the layout allows.
    """

    rows: int
    cols: int
    threads: int
    width: int
    layout: Layout

    @property
    def registers(self) -> int:
        """Elements per thread."""
        return self.rows * self.cols // self.threads

    def place(self, thread: int, register: int) -> tuple[int, int]:
        """(row, column) of an element."""
        return divmod(self.layout(thread * self.registers + register), self.cols)

    def lines(self, dim: int) -> tuple[int, ...]:
        """For each row (dim 0) or column (dim 1) that a thread has elements of, the first register in it; the same in every thread."""
        found: dict[int, int] = {}
        for register in range(self.registers):
            found.setdefault(self.place(0, register)[dim], register)
        return tuple(found.values())

    def exchanges(self, dim: int) -> tuple[int, ...]:
        """The bits in which the numbers of the threads differ that hold other elements of the same row (dim 1) or column (dim 0); raises
        `LayoutError` where they are no powers of two."""
        place, found = 1, []
        for size, stride in zip(self.layout.sizes, self.layout.strides, strict=True):
            along = 0 if stride % self.cols == 0 else 1
            if place >= self.registers and size > 1 and along == dim:
                step = place // self.registers
                if size & (size - 1) or step & (step - 1):
                    raise LayoutError(
                        f"{size} threads, {step} apart, do not meet in pairs: their numbers are powers of two"
                    )
                found += [step << bit for bit in range(size.bit_length() - 1)]
            place *= size
        return tuple(found)

    def line_of(self, dim: int) -> tuple[int, ...]:
        """For each register the number of its row (dim 0) or column (dim 1) among those of the thread, in the order of `lines`."""
        held = [self.place(0, register)[dim] for register in self.lines(dim)]
        return tuple(held.index(self.place(0, register)[dim]) for register in range(self.registers))


def wgmma_fragment(cols: int) -> Fragment:
    """The accumulator of wgmma m64nNk*: register 4j + 2h + p of lane l in warp w is row 16w + 8h + l/4, column 8j + 2(l%4) + p
    (PTX ISA, "Asynchronous warpgroup-level matrix", figure of the accumulator fragment D)."""
    if cols % 8 or not 8 <= cols <= 256:
        raise LayoutError(f"wgmma accumulators have 8, 16, .. 256 columns, not {cols}")
    sizes = (2, 2, cols // 8, 4, 8, 4)
    return Fragment(64, cols, 128, 2, Layout(sizes, (1, 8 * cols, 8, 2, cols, 16 * cols)))


def blocked_fragment(rows: int, cols: int, threads: int, width: int, across: int | None = None) -> Fragment:
    """`width` contiguous columns per thread, `across` threads side by side along a row (as many as fill it, unless it is said), the others
    down the rows; then again along the row, then again down: registers [i * cols / across, (i + 1) * cols / across) of a thread lie in its i-th row."""
    across = max(1, cols // width) if across is None else across
    if cols % (across * width) or threads % across:
        raise LayoutError(f"{threads} threads of {width} elements, {across} side by side, do not fill rows of {cols}")
    down = threads // across
    if rows % down:
        raise LayoutError(f"{down} rows at a time do not divide {rows} rows")
    again = cols // (across * width)
    sizes = (width, again, rows // down, across, down)
    return Fragment(rows, cols, threads, width, Layout(sizes, (1, across * width, down * cols, width, cols)))


@dataclass(frozen=True)
class Swizzle:
    """Shared-memory swizzle of TMA and wgmma: rows of `row_bytes` (128, 64 or 32), 16-byte chunks exchanged by xor with address
    bits 7 and up (PTX ISA, "Swizzling modes"). Offsets count from an address aligned to `alignment`; an involution."""

    row_bytes: int

    def __post_init__(self) -> None:
        if self.row_bytes not in (128, 64, 32):
            raise LayoutError(f"swizzles have rows of 128, 64 or 32 bytes, not {self.row_bytes}")

    @property
    def alignment(self) -> int:
        """Bytes after which the pattern repeats: eight rows."""
        return 8 * self.row_bytes

    @property
    def mode(self) -> int:
        """The two bits of a wgmma matrix descriptor."""
        return {128: 1, 64: 2, 32: 3}[self.row_bytes]

    def __call__(self, offset: int) -> int:
        """Where the byte at `offset` of the plain image lies."""
        return offset ^ ((offset >> 7 & (self.row_bytes // 16 - 1)) << 4)


def pixel_order(images: int, rows: int, columns: int) -> Layout:
    """Implicit GEMM's row m -> offset of output pixel (n, h, w) in an NHW tensor: the identity, with digits w, h, n (w fastest);
    compose with a strided image layout to get input offsets."""
    return Layout((columns, rows, images), (1, columns, columns * rows))


def magic_number(divisor: int) -> tuple[int, int]:
    """(mul, shift) with n // divisor == (n * mul) >> shift for every 0 <= n < 2**31; mul fits 32 bits, 31 <= shift <= 62.

    mul = ceil(2**shift / d) with shift = 31 + ceil(log2 d): its error e = mul*d - 2**shift < d <= 2**(shift-31), so n*e < 2**shift
    (Granlund and Montgomery 1994, theorem 4.2)."""
    if not 1 <= divisor < 2**31:
        raise LayoutError(f"cannot divide by {divisor}")
    shift = 31 + (divisor - 1).bit_length()
    return -(-(1 << shift) // divisor), shift
