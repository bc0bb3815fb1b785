"""Tile kernels of the CPU as text, for tests: a matrix product with its epilogue, a max pool, elementwise work with two results."""

from __future__ import annotations

from stepwell.types.targets import CPU_LEVELS


def product_text(
    level: str, *, access: str = "window", element: str = "f32", epilogue: str = "relu", residual: bool = True
) -> str:
    """A matrix product with bias, residual (an input, or the bias again) and an activation, in the register block of the level."""
    rows, columns = CPU_LEVELS[level].block
    block, full = f"{rows}x{columns}", f"!tile.tile<{rows}x{columns}xf32, regs>"
    out = f"!tile.tile<{block}x{element}, regs>"
    body = {
        "relu": "%zero = arith.constant 0.0 : f32\n %m = arith.maximumf %u, %zero : f32",
        "none": "%one = arith.constant 1.0 : f32\n %m = arith.mulf %u, %one : f32",
        "gelu": "\n".join(["%c0 = arith.constant 0.5 : f32", "%g0 = arith.mulf %u, %u : f32"]
                          + [f"%g{i + 1} = math.fma %g{i}, %u, %c0 : f32" for i in range(20)] + ["%m = arith.divf %u, %g20 : f32"]),
    }[epilogue]  # fmt: skip
    wide = element == "f32"
    widen = "" if wide else "%wb = arith.extf %q : f16 to f32\n %ws = arith.extf %s : f16 to f32"
    b, s, y = ("%q", "%s", "%m") if wide else ("%wb", "%ws", "%h")
    narrow = "" if wide else "%h = arith.truncf %m : f32 to f16"
    ref = f", %r: !tile.ref<2x{element}, plain>" if residual else ""
    rest = f"%rr = tile.load %r[%i, %j] : {out}" if residual else f"%rr = tile.broadcast %bias dims [1] : {out}"
    return f"""
builtin.module attributes {{stepwell.target = "cpu", stepwell.cpu = "{level}"}} {{
tile.kernel @product(%x: !tile.ref<3x{element}, {access}>, %w: !tile.ref<3x{element}, packed<{columns}>, constant>,
    %b: !tile.ref<1x{element}, plain, constant>{ref}) -> (%y: !tile.ref<2x{element}, plain>)
    config #tile.config<block = [{rows}, {columns}], copy = {"pointer_table" if access == "window" else "direct"}, mma = fma> {{
  tile.wait_predecessor
  tile.for_tiles (%i, %j) of %y block [{rows}, {columns}] {{
    %z = tile.fill 0.0 : f32 -> {full}
    %acc = tile.for (%t, %k) of %x dims [1, 2] step [1, 1] iter (%c = %z) -> {full} {{
      %a = tile.load %x[%i, %t, %k] dims = [0, 2] : !tile.tile<{rows}x1x{element}, in_place>
      %p = tile.load %w[%j, %t, %k] dims = [0, 2] : !tile.tile<{columns}x1x{element}, packed>
      %d = tile.mma %a, %p, %c
      tile.yield %d
    }} loc("conv")
    %bias = tile.load %b[%j] : !tile.tile<{columns}x{element}, regs>
    %bb = tile.broadcast %bias dims [1] : {out}
    {rest}
    %o = tile.map (%v = %acc, %q = %bb, %s = %rr) {{
      {widen}
      %1 = arith.addf %v, {b} : f32
      %u = arith.addf %1, {s} : f32
      {body}
      {narrow}
      tile.yield {y}
    }} : {out} loc("act")
    tile.store %o, %y[%i, %j]
  }}
}} loc("conv")
}}"""


def relu_text(level: str, rank: int) -> str:
    """Elementwise work on tensors of any rank."""
    indices = ", ".join(f"%i{d}" for d in range(rank))
    block = ", ".join(["1"] * (rank - 2) + ["4", "16"])
    dims, full = f"dims = [{rank - 2}, {rank - 1}]", "!tile.tile<4x16xf32, regs>"
    return f"""
builtin.module attributes {{stepwell.target = "cpu", stepwell.cpu = "{level}"}} {{
tile.kernel @relu(%x: !tile.ref<{rank}xf32, plain>) -> (%y: !tile.ref<{rank}xf32, plain>) config #tile.config<block = [{block}]> {{
  tile.wait_predecessor
  tile.for_tiles ({indices}) of %y block [{block}] {{
    %a = tile.load %x[{indices}] {dims} : {full}
    %o = tile.map (%p = %a) {{
      %zero = arith.constant 0.0 : f32
      %m = arith.maximumf %p, %zero : f32
      tile.yield %m
    }} : {full}
    tile.store %o, %y[{indices}] {dims}
  }}
}}
}}"""


def pool_text(level: str, rows: int = 4, columns: int = 16) -> str:
    """A max pool over the taps of a window."""
    full = f"!tile.tile<{rows}x{columns}xf32, regs>"
    return f"""
builtin.module attributes {{stepwell.target = "cpu", stepwell.cpu = "{level}"}} {{
tile.kernel @pool(%x: !tile.ref<3xf32, window>) -> (%y: !tile.ref<2xf32, plain>) config #tile.config<block = [{rows}, {columns}]> {{
  tile.wait_predecessor
  tile.for_tiles (%i, %j) of %y block [{rows}, {columns}] {{
    %z = tile.fill 0xFF800000 : f32 -> {full}
    %acc = tile.for (%t) of %x dims [1] step [1] iter (%c = %z) -> {full} {{
      %a = tile.load %x[%i, %t, %j] dims = [0, 2] fill = 0xFF800000 : f32 : {full}
      %d = tile.map (%p = %a, %q = %c) {{
        %m = arith.maximumf %p, %q : f32
        tile.yield %m
      }} : {full}
      tile.yield %d
    }}
    tile.store %acc, %y[%i, %j]
  }}
}} loc("pool")
}}"""


def narrow_text(level: str, rows: int = 4, columns: int = 16) -> str:
    """A convolution without a matrix product: every tap and channel of a pixel is repeated along the columns."""
    full = f"!tile.tile<{rows}x{columns}xf32, regs>"
    return f"""
builtin.module attributes {{stepwell.target = "cpu", stepwell.cpu = "{level}"}} {{
tile.kernel @narrow(%x: !tile.ref<3xf32, window>, %w: !tile.ref<3xf32, plain, constant>) -> (%y: !tile.ref<2xf32, plain>)
    config #tile.config<block = [{rows}, {columns}], copy = pointer_table> {{
  tile.wait_predecessor
  tile.for_tiles (%i, %j) of %y block [{rows}, {columns}] {{
    %z = tile.fill 0.0 : f32 -> {full}
    %acc = tile.for (%t, %k) of %x dims [1, 2] step [1, 1] iter (%c = %z) -> {full} {{
      %a = tile.load %x[%i, %t, %k] dims = [0] : !tile.tile<{rows}xf32, regs>
      %aa = tile.broadcast %a dims [0] : {full}
      %b = tile.load %w[%t, %k, %j] dims = [2] : !tile.tile<{columns}xf32, regs>
      %bb = tile.broadcast %b dims [1] : {full}
      %d = tile.map (%p = %aa, %q = %bb, %r = %c) {{
        %m = arith.mulf %p, %q : f32
        %s = arith.addf %r, %m : f32
        tile.yield %s
      }} : {full}
      tile.yield %d
    }}
    tile.store %acc, %y[%i, %j]
  }}
}} loc("narrow")
}}"""


def map_text(level: str, rows: int = 3, columns: int = 16) -> str:
    """Elementwise work with comparisons, conversions, repeated rows and columns, and two results."""
    full = f"!tile.tile<{rows}x{columns}xf32, regs>"
    return f"""
builtin.module attributes {{stepwell.target = "cpu", stepwell.cpu = "{level}"}} {{
tile.kernel @work(%x: !tile.ref<2xf32, plain>, %row: !tile.ref<1xf32, plain>, %column: !tile.ref<1xf32, plain>)
    -> (%y: !tile.ref<2xf32, plain>, %z: !tile.ref<2xf32, plain>) config #tile.config<block = [{rows}, {columns}]> {{
  tile.wait_predecessor
  tile.for_tiles (%i, %j) of %y block [{rows}, {columns}] {{
    %a = tile.load %x[%i, %j] : {full}
    %r = tile.load %row[%j] : !tile.tile<{columns}xf32, regs>
    %rr = tile.broadcast %r dims [1] : {full}
    %c = tile.load %column[%i] : !tile.tile<{rows}xf32, regs>
    %cc = tile.broadcast %c dims [0] : {full}
    %o = tile.map (%p = %a, %q = %rr, %s = %cc) {{
      %big = arith.cmpf ogt, %p, %q : f32
      %chosen = arith.select %big, %p, %s : f32
      %whole = arith.fptosi %chosen : f32 to i32
      %two = arith.constant 2 : i32
      %twice = arith.muli %whole, %two : i32
      %less = arith.cmpi slt, %twice, %two : i32
      %back = arith.sitofp %twice : i32 to f32
      %neg = arith.negf %back : f32
      %y1 = arith.select %less, %neg, %back : f32
      tile.yield %y1
    }} : {full}
    %u = tile.map (%p = %o, %q = %a) {{
      %sum = arith.subf %p, %q : f32
      %abs = math.absf %sum : f32
      tile.yield %abs
    }} : {full}
    tile.store %o, %y[%i, %j]
    tile.store %u, %z[%i, %j]
  }}
}}
}}"""
