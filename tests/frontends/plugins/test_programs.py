"""Plugins whose meaning is a tile program or PTX: executed in the interpreters; PTX is refused by compile; and check_plugin."""

from __future__ import annotations

import numpy as np
import pytest

import stepwell
from stepwell import Network
from stepwell.dialects.graph import plugins as registry
from stepwell.frontends.plugins import Plugin, PtxKernel
from stepwell.runtime.errors import ModelError
from stepwell.testing.check_plugin import check_plugin

X = np.array([[-1, 0, 2], [3, -4, 5]], np.float32)


@pytest.fixture(autouse=True)
def own_plugins(monkeypatch: pytest.MonkeyPatch) -> None:
    """Plugins of a test are gone after it."""
    monkeypatch.setattr(registry, "_PLUGINS", {})


TILE = """builtin.module attributes {{stepwell.level = "tile", stepwell.target = "cpu", stepwell.cpu = "x86-64-v3"}} {{
  tile.kernel @bent(%x: !tile.ref<2xf32, plain>) -> (%y: !tile.ref<2xf32, plain>) config #tile.config<block = [2, 32]> {{
    tile.wait_predecessor
    tile.for_tiles (%i, %j) of %y block [2, 32] {{
      %a = tile.load %x[%i, %j] : !tile.tile<2x32xf32, regs>
      %o = tile.map (%0 = %a) {{
        %1 = arith.constant {slope} : f32
        %2 = arith.mulf %0, %1 : f32
        %3 = arith.maximumf %0, %2 : f32
        tile.yield %3
      }} : !tile.tile<2x32xf32, regs>
      tile.store %o, %y[%i, %j]
    }}
  }}
  func.func @main(%x: tensor<{shape}xf32>) -> tensor<{shape}xf32> {{
    %y = tile.apply @bent(%x) : (tensor<{shape}xf32>) -> tensor<{shape}xf32>
    func.return %y : tensor<{shape}xf32>
  }}
}}
"""
PTX = """
.version 8.0
.target sm_90a
.address_size 64
.visible .entry doubled(.param .u64 p0, .param .u64 p1)
{
  .reg .b32 %t; .reg .b64 %rd<4>; .reg .pred %q; .reg .f32 %f<2>;
  griddepcontrol.wait;
  mov.u32 %t, %tid.x;
  setp.ge.u32 %q, %t, COUNT;
  @%q bra DONE;
  ld.param.b64 %rd1, [p0]; mad.wide.u32 %rd2, %t, 4, %rd1; ld.global.f32 %f0, [%rd2];
  add.rn.f32 %f1, %f0, %f0;
  ld.param.b64 %rd1, [p1]; mad.wide.u32 %rd2, %t, 4, %rd1; st.global.f32 [%rd2], %f1;
DONE:
  ret;
}
"""


def tiled() -> Plugin:
    @stepwell.plugin("Bent", namespace="tests", types=("f32",))
    def bent(x, *, slope: float = 0.5):  # type: ignore[no-untyped-def]
        return x

    @bent.tile
    def program(x, *, slope):  # type: ignore[no-untyped-def]
        return TILE.format(slope=f"{slope:e}", shape="x".join(map(str, x.shape)))

    return bent


def in_ptx(count: str = "6") -> Plugin:
    @stepwell.plugin("Doubled", namespace="tests", types=("f32",))
    def doubled(x):  # type: ignore[no-untyped-def]
        return x

    doubled.ptx(lambda x: PtxKernel(PTX.replace("COUNT", count), "doubled", (1, 1, 1), (32, 1, 1)))
    return doubled


def network_of(plugin: Plugin) -> Network:
    network = Network("one")
    (y,) = network.add_plugin([network.add_input("x", X.shape)], plugin, name="op")
    network.mark_output(y, "y")
    return network


@pytest.mark.parametrize("make, wanted", [(tiled, np.maximum(X, X / 2)), (in_ptx, 2 * X)])
def test_programs_are_executed(make, wanted: np.ndarray) -> None:  # type: ignore[no-untyped-def]
    network = network_of(make())
    np.testing.assert_array_equal(stepwell.interpret(network.module(), {"x": X})["y"], wanted)


def test_ptx_is_not_compiled() -> None:
    network = network_of(in_ptx())
    for target in ("cpu", "sm_90a"):
        with pytest.raises(ModelError, match="only, which no pipeline links into a plan yet: say it in graph ops too"):
            stepwell.compile_plan(network, target=target)


def test_a_kernel_that_is_wrong_is_told() -> None:
    for count, said in (("5", "leaves elements of result0 unwritten"), ("9", "the PTX of tests::Doubled")):
        with pytest.raises(ModelError, match=said):
            stepwell.interpret(network_of(in_ptx(count)).module(), {"x": X})


def test_a_text_that_is_no_program_is_told() -> None:
    plugin = tiled()
    for made, said in ((lambda x, slope: 3, "give the text of a module"), (lambda x, slope: "nonsense", "the tile program of tests::Bent")):  # fmt: skip
        plugin.tile(made)
        with pytest.raises(ModelError, match=said):
            plugin.run([X], plugin.parameters({}))
    other = in_ptx()
    other.ptx(lambda x: "text")
    with pytest.raises(ModelError, match="give a PtxKernel"):
        other.run([X], {})


def test_check_plugin_holds_ops_to_the_reference() -> None:
    plugin = tiled()
    plugin.reference(lambda x, slope: np.maximum(x, x * np.float32(slope)))
    plugin.graph(lambda build, x, slope: build.binary("max", x, build.binary("mul", x, build.number(slope, x))))
    assert check_plugin(plugin, [X]) == "tests::Bent: 1 result, in ops as in NumPy"
    plugin.graph(lambda build, x, slope: build.binary("max", x, build.number(slope, x)))
    with pytest.raises(AssertionError, match="tests::Bent: result 0"):
        check_plugin(plugin, [X])
