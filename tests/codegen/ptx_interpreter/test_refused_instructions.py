"""What the PTX interpreter does not know is refused by name."""

from __future__ import annotations

import pytest
from tests.codegen.ptx_interpreter.one_instruction import integers, run

from stepwell.codegen.ptx_interpreter import PtxRefused

REFUSED = {
    "add.f32 %d, %a0, %a1;": "without .rn means nothing",
    "mul.f16x2 %d, %a0, %a1;": "without .rn means nothing",
    "add.rz.f32 %d, %a0, %a1;": "unknown modifier in add.rz.f32",
    "add.rn.ftz.f32 %d, %a0, %a1;": "unknown modifier in add.rn.ftz.f32",
    "frobnicate.b32 %d, %a0;": "unknown instruction frobnicate.b32",
    "ex2.approx.ftz.f32 %d, %a0;": "unknown modifier in ex2.approx.ftz.f32",
    "ld.global.nc.b32 %d, [%rd1];": "unknown modifier in ld.global.nc.b32",
    "ld.volatile.global.b32 %d, [%rd1];": "unknown modifier in ld.volatile.global.b32",
    "st.local.b32 [%rd1], %d;": "unknown modifier in st.local.b32",
    "setp.gt.b32 %q, %a0, %a1;": "unknown comparison setp.gt.b32",
    "cvt.rn.bf16.s32 %d, %a0;": "unknown modifier in cvt.rn.bf16.s32",
    "add.s64 %d, %a0, %a1;": "32 bits, int64 is read",
    "add.s32 %d, %a0;": "operands where 3 are expected",
    "mov.b32 %d, nothing;": "unknown name nothing",
    "bra nowhere;": "a branch to an unknown label",
    "mov.u32 %d, %clock;": "unknown register %clock",
    "mov.u32 missing, 0;": "a destination that is no register",
    "wgmma.mma_async.sp.sync.aligned.m64n8k32.f32.f16.f16 {%d}, %rd1, %rd2, 1;": "unknown instruction wgmma.mma_async.sp",
    "cp.async.bulk.tensor.2d.global.shared::cta.tile.bulk_group [%rd1, {%d}], [%d];": "1 coordinates where 2 are expected",
    "cp.reduce.async.bulk.tensor.2d.global.shared::cta.add.tile.bulk_group [%rd1, {%d, %d}], [%d];": "unknown instruction cp.reduce.async",
    "stmatrix.sync.aligned.m8n8.x4.shared.b16 [%d], {%a0, %a1};": "2 registers where 4 are stored",
    "ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%d}, [%a0];": "1 registers where 4 are loaded",
    "stmatrix.sync.aligned.m8n8.x4.trans.shared.b16 [%d], {%a0, %a0, %a0, %a0};": "unknown modifier in stmatrix",
    "cp.async.bulk.wait_group.read %d;": "an operand that is no number",
    "atom.global.add.u32 %d, [%rd1], 1;": "unknown instruction atom.global.add.u32",
    ".loc 1 2 3;": "unknown directive .loc",
    "mov.u32 %d, 0": "where , is expected",
    "mov.u32 %d; ~": "not PTX",
}  # fmt: skip


@pytest.mark.parametrize("body", REFUSED)
def test_what_is_not_known_is_refused_by_name(body: str) -> None:
    a = integers("u32", 0)
    with pytest.raises(PtxRefused) as refused:
        run(body, "u32", ("u32", a), ("u32", a))
    assert REFUSED[body] in str(refused.value)
    assert "PTX line" in str(refused.value)
    assert refused.value.exit_code == 4
