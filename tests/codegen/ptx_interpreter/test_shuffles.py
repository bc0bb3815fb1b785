"""shfl.sync: what lanes of a warp hand to one another; part of a warp, and other modes, are refused or faults."""

from __future__ import annotations

import numpy as np
import pytest

from stepwell.codegen.ptx_interpreter import PtxRefused, parse, run_entry
from stepwell.dialects.hopper.simulator import DivergenceFault, GlobalBuffer

TEXT = """.version 8.6
.target sm_90a
.address_size 64

.visible .entry k(.param .u64 p0)
{
  .reg .b32 %r<4>; .reg .b64 %rd<4>; .reg .pred %p<2>;
  griddepcontrol.wait;
  mov.u32 %r1, %tid.x;
  mul.lo.s32 %r2, %r1, 7;
  BEFORE
  shfl.sync.bfly.b32 %r3, %r2, LANES, 31, -1;
  AFTER
  ld.param.b64 %rd1, [p0]; mad.wide.u32 %rd2, %r1, 4, %rd1; st.global.b32 [%rd2], %r3;
  ret;
}"""


def run(lanes: str, before: str = "", after: str = "") -> np.ndarray:
    text = TEXT.replace("LANES", lanes).replace("BEFORE", before).replace("AFTER", after)
    output = GlobalBuffer.poisoned("d", 96, "u4")
    run_entry(parse(text), "k", [output], (1, 1, 1), block=(96, 1, 1))
    return output.values()


@pytest.mark.parametrize("lanes", [0, 1, 4, 16, 31])
def test_lanes_hand_over_what_they_hold(lanes: int) -> None:
    np.testing.assert_array_equal(run(str(lanes)), (np.arange(96) ^ lanes) * 7)


@pytest.mark.parametrize("lanes", ["32", "%r1"])
def test_other_lanes_are_refused(lanes: str) -> None:
    with pytest.raises(PtxRefused):
        run(lanes)


def test_part_of_a_warp_is_a_fault() -> None:
    with pytest.raises(DivergenceFault):
        run("1", "setp.lt.u32 %p1, %r1, 40; @!%p1 bra END;", "END:")
