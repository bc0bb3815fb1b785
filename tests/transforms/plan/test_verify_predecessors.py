"""The predecessor wait: what may stand before it, and what must not."""

from __future__ import annotations

import pytest
from xdsl.parser import Parser

from stepwell.passes import PassFailure
from stepwell.plugins.universe import make_context
from stepwell.transforms.plan.verify_predecessors import PASS

MODULE = """
builtin.module attributes {{stepwell.level = "kernel", stepwell.target = "{target}"}} {{
  warp.kernel @k(%x: !warp.global<f32>, %w: !warp.global<f32>, %y: !warp.global<f32>) threads 128 shared 0 {{
    %i = warp.thread_id
    %zero = arith.constant 0 : i32
    %many = arith.constant 64 : i32
    %flag = arith.cmpi eq, %i, %zero : i32
    {body}
    warp.return
  }}
  plan.program @main arena 512 constants 256 {{
    %g1 = arith.constant 1 : i32
    %image = plan.binding "image" input : !plan.buffer<128xf32>
    %out = plan.binding "out" output : !plan.buffer<128xf32>
    %w = plan.constant dense<1.0> : tensor<64xf32> at 0 : !plan.buffer<64xf32>
    %a = plan.slice at 0 live [0, 1] : !plan.buffer<128xf32>
    plan.launch @k(%image, %w, %a) grid %g1 block [128, 1, 1] reads [0, 1] writes [2] : {types}
    plan.launch @k(%a, %w, %out) grid %g1 block [128, 1, 1] reads [0, 1] writes [2] : {types}
  }}
}}
"""
TYPES = "(!plan.buffer<128xf32>, !plan.buffer<64xf32>, !plan.buffer<128xf32>)"
WAIT = "warp.wait_predecessor\n"
LOAD = "warp.fragment_load_row %{0}[%zero] bounds [%many] <wgmma 64x8> access 1 : !warp.global<f32> -> vector<2xf32>"
LOAD_X, LOAD_W = f"%v = {LOAD.format('x')}\n", f"%u = {LOAD.format('w')}\n"


def check(body: str, target: str = "sm_90a") -> None:
    """Parse, verify and check a module with this kernel body."""
    ctx = make_context()
    module = Parser(ctx, MODULE.format(body=body, target=target, types=TYPES)).parse_module()
    module.verify()
    PASS().apply(ctx, module)
    assert [str(remark) for remark in ctx.remarks] == (
        [] if target == "cpu" else [f"remark: [analysis] {PASS.name}: module: 1 kernels wait for their predecessors"]
    )


@pytest.mark.parametrize(
    "body",
    [
        WAIT + LOAD_X,
        LOAD_W + WAIT + LOAD_X,
        WAIT + "scf.if %flag {\n" + LOAD_X + "}\n",
        "scf.if %flag {\n" + LOAD_W + WAIT + LOAD_X + "}\n",
    ],
)
def test_accepted(body: str) -> None:
    check(body)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (LOAD_W, "@k never waits for its predecessor"),
        (LOAD_X + WAIT, "warp.fragment_load_row reaches parameter 0, which is no constant, before the wait"),
        ("scf.if %flag {\n" + WAIT + "}\n" + LOAD_X, "warp.fragment_load_row reaches parameter 0"),
        ("scf.if %flag {\n" + WAIT + "} else {\n" + LOAD_X + "}\n", "warp.fragment_load_row reaches parameter 0"),
    ],
)
def test_refused(body: str, message: str) -> None:
    with pytest.raises(PassFailure, match=message):
        check(body)
    check(body, target="cpu")


def test_a_constant_is_one_in_every_launch() -> None:
    """Parameter 0 is the input in one launch only."""
    with pytest.raises(PassFailure, match="parameter 0"):
        check(LOAD_X + WAIT)
