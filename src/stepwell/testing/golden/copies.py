"""Golden kernels with one tensor copy whose landing is read back: tiled and im2col, swizzles, strides, elements outside."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from stepwell.runtime.program import Place, TensorMap
from stepwell.testing.golden.data import HEADER, Golden, hashed, real, whole

ANYWHERE = Place("arena", 0)


@dataclass(frozen=True)
class Copy:
    """One tensor copy of `bytes` from a map (outermost dimension first, as programs have them) at coordinates, innermost first."""

    name: str
    map: TensorMap
    bytes: int
    coordinates: tuple[int, ...]
    offsets: tuple[int, ...] = ()
    data: str = "whole"

    def golden(self) -> Golden:
        """The launch: one thread copies, all store what landed."""
        items = int(np.prod(self.map.shape))
        source = {"f16": np.float16, "i8": np.uint8}.get(self.map.dtype, np.float32)
        data = self._data(items).astype(source, copy=False)
        numbers = [value & 0xFFFFFFFF for value in (*self.coordinates, *self.offsets)]
        return Golden(self.name, self._text(), (data, self.map, *numbers), self.bytes, self.bytes + 1024, self)

    def _data(self, items: int) -> np.ndarray:
        if self.map.dtype == "i8":
            return hashed(items, 21).astype(np.uint8)
        if self.data == "ties":  # all about half a unit of the last of tf32's bits
            words = hashed(items, 21)
            low = np.array([0, 0x0FFF, 0x1000, 0x1001], np.uint32)[words % np.uint32(4)]
            return ((words & np.uint32(0xFFFFE000)) | low).view(np.float32)
        return real(items, 21) if self.data == "real" else whole(items, 21, 1, 2000)

    def _text(self) -> str:
        rank, taps = len(self.coordinates), len(self.offsets)
        parameters = "".join(f", .param .u32 c{i}" for i in range(rank + taps))
        loads = "\n".join(f"  ld.param.b32 %c{i}, [c{i}];" for i in range(rank + taps))
        narrow = "\n".join(f"  cvt.u16.u32 %h{i}, %c{rank + i};" for i in range(taps))
        coordinates = ", ".join(f"%c{i}" for i in range(rank))
        offsets = ", {" + ", ".join(f"%h{i}" for i in range(taps)) + "}" if taps else ""
        mode = "im2col" if taps else "tile"
        copy = f"cp.async.bulk.tensor.{rank}d.shared::cluster.global.{mode}.mbarrier::complete_tx::bytes"
        return f"""{HEADER}
.visible .entry golden(.param .u64 source, .param .align 64 .b8 map[128]{parameters}, .param .u64 out)
.maxntid 128
{{
  .reg .pred %p<4>; .reg .b16 %h<4>; .reg .b32 %r<12>; .reg .b32 %c<10>; .reg .b64 %rd<8>;
  griddepcontrol.wait;
  mov.b64 %rd1, map;
  cvta.param.u64 %rd2, %rd1;
  mov.u32 %r1, %tid.x;
  mov.u32 %r8, memory;
  add.s32 %r9, %r8, {-(-self.bytes // 1024) * 1024};
{loads}
{narrow}
  setp.ne.b32 %p1, %r1, 0;
@%p1 bra READY;
  mov.u32 %r2, 1;
  mbarrier.init.shared.b64 [%r9], %r2;
  fence.mbarrier_init.release.cluster;
READY:
  bar.sync 0;
@%p1 bra ISSUED;
  mov.u32 %r2, {self.bytes};
  mbarrier.arrive.expect_tx.shared::cta.b64 _, [%r9], %r2;
  {copy} [%r8], [%rd2, {{{coordinates}}}], [%r9]{offsets};
ISSUED:
  mov.u32 %r3, 0;
WAIT:
  mbarrier.try_wait.parity.shared::cta.b64 %p2, [%r9], %r3;
@!%p2 bra WAIT;
  ld.param.b64 %rd3, [out];
  mov.u32 %r2, %r1;
  setp.ge.u32 %p3, %r2, {self.bytes // 16};
@%p3 bra DONE;
STORE:
  shl.b32 %r3, %r2, 4;
  add.s32 %r10, %r8, %r3;
  ld.shared.v4.b32 {{%r4, %r5, %r6, %r7}}, [%r10];
  cvt.u64.u32 %rd4, %r3;
  add.s64 %rd4, %rd3, %rd4;
  st.global.v4.b32 [%rd4], {{%r4, %r5, %r6, %r7}};
  add.s32 %r2, %r2, 128;
  setp.lt.u32 %p3, %r2, {self.bytes // 16};
@%p3 bra STORE;
DONE:
  ret;
}}
"""


def _map(
    kind: str, dtype: str, shape: tuple[int, ...], box: tuple[int, ...], swizzle: int, **changes: tuple[int, ...]
) -> TensorMap:
    strides = tuple(int(np.prod(shape[i + 1 :])) for i in range(len(shape)))
    steps = changes.get("steps", (1,) * len(shape))
    return TensorMap(
        kind,
        ANYWHERE,
        dtype,
        shape,
        strides,
        box,
        steps,
        changes.get("lower", ()),
        changes.get("upper", ()),
        swizzle,
        0,
    )


def _tiled(
    name: str,
    dtype: str,
    shape: tuple[int, ...],
    box: tuple[int, ...],
    swizzle: int,
    at: tuple[int, ...],
    steps: tuple[int, ...] = (),
    data: str = "whole",
) -> Copy:
    strides = steps or (1,) * len(shape)
    counts = [-(-extent // step) for extent, step in zip(box[:-1], strides[:-1], strict=True)]
    size = int(np.prod(counts)) * box[-1] * {"f16": 2, "i8": 1}.get(dtype, 4)
    return Copy(f"tiled_{name}", _map("tiled", dtype, shape, box, swizzle, steps=strides), size, at, data=data)


def _im2col(
    name: str,
    dtype: str,
    shape: tuple[int, ...],
    swizzle: int,
    corners: tuple[tuple[int, ...], tuple[int, ...]],
    steps: tuple[int, ...],
    at: tuple[int, ...],
    offsets: tuple[int, ...],
    pixels: int = 24,
) -> Copy:
    channels = swizzle // {"f16": 2}.get(dtype, 4)
    made = _map("im2col", dtype, shape, (pixels, channels), swizzle, steps=steps, lower=corners[0], upper=corners[1])
    return Copy(f"im2col_{name}", made, pixels * swizzle, at, offsets)


def copies() -> list[Golden]:
    """Tiled copies of rank 2 to 5, every swizzle, both edges, strides, types; im2col of rank 3 to 5 with corners, strides, taps and channels outside."""
    one, two = (1, 1, 1, 1), (1, 2, 2, 1)
    listed = [
        _tiled("2d_none", "f16", (40, 64), (16, 24), 0, (8, 4)),
        *[_tiled(f"2d_{w}", "f16", (40, 64), (32, w // 2), w, (w // 2 % 64, 3)) for w in (32, 64, 128)],
        _tiled("2d_f32_128", "f32", (40, 64), (24, 32), 128, (16, 5)),
        _tiled("2d_i8", "i8", (40, 160), (16, 128), 128, (16, 5)),
        _tiled("2d_before", "f32", (40, 64), (24, 32), 128, (-8, -3)),
        _tiled("2d_behind", "f16", (40, 64), (24, 64), 128, (24, 30)),
        _tiled("2d_outside", "f16", (40, 64), (16, 64), 128, (64, 0)),
        _tiled("3d", "f32", (5, 7, 32), (3, 4, 16), 64, (8, 5, 3)),
        _tiled("3d_strided", "f32", (9, 12, 32), (5, 6, 32), 128, (0, 1, 2), (2, 3, 1)),
        _tiled("4d", "f16", (3, 4, 5, 32), (2, 3, 4, 32), 64, (0, -1, 2, 1)),
        _tiled("5d", "f16", (2, 3, 4, 5, 16), (2, 2, 3, 4, 16), 32, (0, 2, -1, 2, 1)),
        _tiled("tf32", "tf32", (40, 64), (32, 32), 128, (16, 3), data="real"),
        _tiled("tf32_ties", "tf32", (40, 64), (32, 32), 128, (16, 3), data="ties"),
        _im2col("3d", "f32", (3, 20, 32), 128, ((-1,), (-1,)), (1, 1, 1), (0, 3, 1), (2,)),
        _im2col("same", "f16", (3, 6, 5, 64), 128, ((-1, -1), (-1, -1)), one, (0, 2, 1, 0), (0, 2)),
        _im2col("rows_first", "f16", (3, 6, 5, 64), 128, ((-1, -1), (-1, -1)), one, (0, -1, -1, 0), (2, 1)),
        _im2col("last", "f16", (3, 6, 5, 64), 64, ((-1, -1), (-1, -1)), one, (32, 1, 3, 2), (1, 0)),
        _im2col("strided", "f32", (3, 9, 11, 32), 128, ((-1, 0), (-1, -2)), two, (0, 2, 1, 0), (1, 2)),
        _im2col("uneven", "f32", (2, 7, 10, 16), 64, ((-2, -1), (0, -1)), one, (0, 3, -2, 0), (3, 0)),
        _im2col("channels", "f16", (2, 6, 5, 24), 32, ((-1, -1), (-1, -1)), one, (16, 0, 0, 0), (1, 1)),
        _im2col("5d", "f16", (2, 3, 4, 5, 32), 64, ((-1, -1, -1), (-1, -1, -1)), (1, 1, 1, 1, 1), (0, 1, 0, -1, 0), (2, 0, 1)),
    ]  # fmt: skip
    return [copy.golden() for copy in listed]
