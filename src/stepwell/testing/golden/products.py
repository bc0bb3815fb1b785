"""Golden kernels with one group of wgmma on shared memory that is filled with given bytes, whatever they mean: types, shapes, layouts, transposition, signs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from stepwell.testing.golden.data import HEADER, Golden, elements, start

_FILL = """
  setp.ge.u32 %p1, %r1, {chunks};
  mov.u32 %r2, %r1;
@%p1 bra FILLED;
FILL:
  mul.wide.u32 %rd2, %r2, 16;
  add.s64 %rd2, %rd1, %rd2;
  ld.global.v4.b32 {{%r4, %r5, %r6, %r7}}, [%rd2];
  shl.b32 %r3, %r2, 4;
  add.s32 %r3, %r3, %r8;
  st.shared.v4.b32 [%r3], {{%r4, %r5, %r6, %r7}};
  add.s32 %r2, %r2, 128;
  setp.lt.u32 %p1, %r2, {chunks};
@%p1 bra FILL;
FILLED:
  fence.proxy.async.shared::cta;
  bar.sync 0;
"""


@dataclass(frozen=True)
class Layout:
    """How an operand lies: swizzle in bytes, leading and stride offsets in bytes, whether its rows are contiguous (transposed), and its bytes."""

    swizzle: int
    leading: int
    stride: int
    size: int
    transposed: bool = False

    @property
    def descriptor(self) -> int:
        """The upper fields of its descriptor (PTX ISA, "Matrix descriptor format")."""
        mode = {0: 0, 128: 1, 64: 2, 32: 3}[self.swizzle]
        return (self.leading >> 4) << 16 | (self.stride >> 4) << 32 | mode << 62


def k_major(swizzle: int, rows: int) -> Layout:
    """Rows of `swizzle` bytes in groups of eight; unswizzled two core matrices of 128 bytes for each eight rows."""
    if swizzle == 0:
        return Layout(0, 128, 256, rows * 32)
    return Layout(swizzle, 16, 8 * swizzle, rows * swizzle)


def mn_major(swizzle: int, rows: int) -> Layout:
    """16 k of 16-bit elements, `rows` contiguous ones in pieces of `swizzle` bytes."""
    if swizzle == 0:
        return Layout(0, rows * 16, 128, rows * 32, True)
    return Layout(swizzle, 16 * swizzle, 8 * swizzle, rows * 32, True)


@dataclass(frozen=True)
class Product:
    """A group of wgmma of 64 x `columns`."""

    a: str
    b: str
    result: str
    columns: int
    left: Layout
    right: Layout
    steps: int = 1
    signs: tuple[int, int] = (1, 1)
    keeps: int = 1
    data: str = "whole"
    seed: int = 1

    @property
    def name(self) -> str:
        parts = [self.a if self.a == self.b else f"{self.a}_{self.b}", self.result, f"n{self.columns}"]
        parts += [f"{x.swizzle}{'t' if x.transposed else ''}" for x in (self.left, self.right)]
        parts += [f"{self.steps}x"] if self.steps > 1 else []
        parts += ["signs"] if self.signs != (1, 1) else []
        parts += ["zero"] if not self.keeps else []
        return "wgmma_" + "_".join([*parts, self.data])

    @property
    def registers(self) -> int:
        return self.columns // (4 if self.result == "f16" else 2)

    def golden(self) -> Golden:
        """The launch: fill shared memory with both operands, load accumulators, multiply, store them."""
        size_a, size_b = -(-self.left.size // 1024) * 1024, -(-self.right.size // 1024) * 1024
        size_b += 1024  # later steps may read behind the last row
        image = np.concatenate(
            [elements(self.a, size_a, self.seed, self.data), elements(self.b, size_b, self.seed + 10, self.data, True)]
        )
        values = start(self.result, 128 * self.registers * (2 if self.result == "f16" else 1), self.data)
        arguments = (image, values, self.left.descriptor, self.right.descriptor)
        return Golden(self.name, self._text(size_a, len(image)), arguments, 512 * self.registers, len(image), self)

    def _instruction(self) -> str:
        k = 32 // {"tf32": 4, "f16": 2, "bf16": 2}.get(self.a, 1)
        listed = ", ".join(f"%d{i}" for i in range(self.registers))
        tail = "" if self.result == "s32" else f", {self.signs[0]}, {self.signs[1]}"
        tail += f", {int(self.left.transposed)}, {int(self.right.transposed)}" if self.a in ("f16", "bf16") else ""
        shape = f"m64n{self.columns}k{k}.{self.result}.{self.a}.{self.b}"
        return f"wgmma.mma_async.sync.aligned.{shape} {{{listed}}}, %rd5, %rd6, %p2{tail};"

    def _text(self, size_a: int, size: int) -> str:
        loads = "\n".join(f"  ld.global.b32 %d{i}, [%rd3+{4 * i}];" for i in range(self.registers))
        stores = "\n".join(f"  st.global.b32 [%rd4+{4 * i}], %d{i};" for i in range(self.registers))
        product = self._instruction()
        step = "\n  add.s64 %rd5, %rd5, 2;\n  add.s64 %rd6, %rd6, 2;\n  "
        return f"""{HEADER}
.visible .entry golden(.param .u64 image, .param .u64 start, .param .u64 left, .param .u64 right, .param .u64 out)
.maxntid 128
{{
  .reg .pred %p<4>; .reg .b32 %r<12>; .reg .b64 %rd<12>; .reg .b32 %d<{self.registers}>;
  griddepcontrol.wait;
  ld.param.b64 %rd1, [image];
  mov.u32 %r1, %tid.x;
  mov.u32 %r8, memory;
{_FILL.format(chunks=size // 16)}
  mul.wide.u32 %rd7, %r1, {4 * self.registers};
  ld.param.b64 %rd3, [start];
  add.s64 %rd3, %rd3, %rd7;
  ld.param.b64 %rd4, [out];
  add.s64 %rd4, %rd4, %rd7;
{loads}
  bfe.u32 %r9, %r8, 4, 14;
  cvt.u64.u32 %rd5, %r9;
  ld.param.b64 %rd8, [left];
  or.b64 %rd5, %rd5, %rd8;
  add.s32 %r10, %r8, {size_a};
  bfe.u32 %r9, %r10, 4, 14;
  cvt.u64.u32 %rd6, %r9;
  ld.param.b64 %rd9, [right];
  or.b64 %rd6, %rd6, %rd9;
  mov.u32 %r11, {self.keeps};
  setp.ne.b32 %p2, %r11, 0;
  wgmma.fence.sync.aligned;
  {step.join([product] * self.steps)}
  wgmma.commit_group.sync.aligned;
  wgmma.wait_group.sync.aligned 0;
{stores}
  ret;
}}
"""


def _every_type() -> Iterator[Product]:
    pairs = [("f16", "f16", "f32"), ("f16", "f16", "f16"), ("bf16", "bf16", "f32"), ("tf32", "tf32", "f32")]
    pairs += [(a, b, "f32") for a in ("e4m3", "e5m2") for b in ("e4m3", "e5m2")] + [("e4m3", "e4m3", "f16")]
    pairs += [(a, b, "s32") for a in ("s8", "u8") for b in ("s8", "u8")]
    for a, b, result in pairs:
        yield Product(a, b, result, 16, k_major(128, 64), k_major(128, 16))
        if result != "f16":
            yield Product(a, b, result, 8, k_major(32, 64), k_major(32, 8), data="real", seed=2)


def products() -> list[Golden]:
    """Every type; every swizzle; transposition of each operand in each swizzle; several steps, signs, a cleared accumulator, wide shapes."""
    listed = list(_every_type())
    for swizzle in (0, 32, 64, 128):
        listed.append(Product("f16", "f16", "f32", 24, k_major(swizzle, 64), k_major(swizzle, 24), seed=3))
        right = Product("f16", "f16", "f32", 64, k_major(128, 64), mn_major(swizzle, 64), seed=4)
        left = Product("bf16", "bf16", "f32", 16, mn_major(swizzle, 64), k_major(64, 16), seed=5)
        listed += [right, left]
    listed += [
        Product("f16", "f16", "f32", 128, mn_major(64, 64), mn_major(128, 128), seed=6),
        Product("f16", "f16", "f32", 32, k_major(128, 64), k_major(128, 32), steps=4, seed=7),
        Product("tf32", "tf32", "f32", 32, k_major(128, 64), k_major(128, 32), steps=4, data="real", seed=8),
        Product("f16", "f16", "f32", 32, k_major(128, 64), k_major(128, 32), steps=4, data="real", seed=9),
        Product("f16", "f16", "f32", 8, k_major(64, 64), k_major(64, 8), signs=(-1, 1), seed=10),
        Product("tf32", "tf32", "f32", 8, k_major(64, 64), k_major(64, 8), signs=(1, -1), seed=11),
        Product("bf16", "bf16", "f32", 8, k_major(64, 64), k_major(64, 8), keeps=0, seed=12),
        Product("s8", "s8", "s32", 32, k_major(128, 64), k_major(128, 32), steps=4, data="real", seed=13),
        Product("f16", "f16", "f32", 256, k_major(32, 64), k_major(32, 256), seed=14),
    ]
    for a, result in (
        *((kind, "f32") for kind in ("f16", "bf16", "tf32", "e4m3", "e5m2")),
        ("f16", "f16"),
        ("e4m3", "f16"),
    ):
        for data in ("tiny", "any") if result == "f32" else ("real", "tiny", "any"):
            listed.append(Product(a, a, result, 8, k_major(32, 64), k_major(32, 8), data=data, seed=15))
    listed.append(Product("bf16", "bf16", "f32", 16, k_major(128, 64), k_major(128, 16), steps=4, data="real", seed=16))
    return [product.golden() for product in listed]
