"""Plugins whose meaning is a program of the tile level, for IR tests: a leaky relu, and some that are wrong."""

import stepwell
from stepwell.frontends.plugins import Plugin, TensorSpec

PROGRAM = """builtin.module attributes {{stepwell.level = "tile"}} {{
  tile.kernel @bent(%x: !tile.ref<2xf32, plain>) -> (%y: !tile.ref<2xf32, plain>) config #tile.config<block = {block}{more}> {{
    tile.wait_predecessor
    tile.for_tiles (%i, %j) of %y block {block} {{
      %a = tile.load %x[%i, %j] : !tile.tile<{rows}x{columns}xf32, regs>
      %o = tile.map (%0 = %a) {{
        %1 = arith.constant {slope:e} : f32
        %2 = arith.mulf %0, %1 : f32
        %3 = arith.maximumf %0, %2 : f32
        tile.yield %3
      }} : !tile.tile<{rows}x{columns}xf32, regs>
      tile.store %o, %y[%i, %j]
    }}
  }}
  func.func @main(%x: tensor<{shape}xf32>) -> tensor<{result}xf32> {{
    %0 = graph.reshape %x : tensor<{shape}xf32> -> tensor<{matrix}xf32>
    %1 = tile.apply @bent(%0) : (tensor<{matrix}xf32>) -> tensor<{matrix}xf32>
    %2 = graph.reshape %1 : tensor<{matrix}xf32> -> tensor<{result}xf32>
    func.return %2 : tensor<{result}xf32>
  }}
}}
"""


def text(x: TensorSpec, target: str, slope: float, rows: int = 4, result: str = "") -> str:
    """The program on a matrix of one column for each element of the last dim."""
    columns = x.shape[-1] if x.shape else 1
    shape = "x".join(map(str, x.shape))
    count = 1
    for extent in x.shape[:-1]:
        count *= extent
    more = ", warps = 4" if target == "sm_90a" else ""
    width = 32
    return PROGRAM.format(
        block=[rows, width],
        rows=rows,
        columns=width,
        more=more,
        slope=slope,
        shape=shape,
        matrix=f"{count}x{columns}",
        result=result or shape,
    )


def _plugin(name: str) -> Plugin:
    @stepwell.plugin(name, namespace="tiles", types=("f32",))
    def like(x: TensorSpec, *, slope: float = 0.5) -> TensorSpec:
        """As x."""
        return x

    return like


_plugin("Bent").tile(lambda x, slope, target: text(x, target, slope))
_plugin("BentWide").tile(lambda x, slope, target: text(x, target, slope, rows=10**6))
_plugin("BentLong").tile(lambda x, slope, target: text(x, target, slope, result="1x2x3"))
