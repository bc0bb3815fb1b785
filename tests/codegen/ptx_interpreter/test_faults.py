"""Each kind of report on small kernels: what is right gives none, one damage gives the fault that hardware would answer with wrong numbers, a trap or a hang."""

from __future__ import annotations

import re
from functools import cache
from typing import Any

import numpy as np
import pytest

from stepwell.codegen.ptx_interpreter import parse, run_entry
from stepwell.codegen.ptx_interpreter.program import tensor_map
from stepwell.dialects.hopper.simulator import Fault, GlobalBuffer, faults
from stepwell.runtime.errors import UsageError
from stepwell.runtime.program import TensorMap
from stepwell.testing.golden import Golden, everything

PRODUCT, COPY = "wgmma_f16_f32_n24_128_128_whole", "tiled_2d_128"


@cache
def golden(name: str) -> Golden:
    return next(each for each in everything() if each.name == name)


def run(name: str, pattern: str, replacement: str, seed: int = 0, **changes: Any) -> np.ndarray:
    """The output of a golden kernel whose text is changed."""
    launch = golden(name)
    text = re.sub(pattern, replacement, launch.ptx) if pattern else launch.ptx
    assert not pattern or text != launch.ptx
    first = launch.arguments[0]
    assert isinstance(first, np.ndarray)
    source = GlobalBuffer.of_array("source", first, constant=True)
    arguments: list[Any] = [source]
    for argument in launch.arguments[1:]:
        if isinstance(argument, TensorMap):
            arguments.append(tensor_map(argument, source))
        elif isinstance(argument, np.ndarray):
            arguments.append(GlobalBuffer.of_array("start", argument.view(np.uint32), constant=True))
        else:
            arguments.append(argument)
    output = GlobalBuffer.poisoned("output", launch.output // 4, np.uint32)
    options = {"shared": launch.shared, "seed": seed, "limit": 20_000, **changes}
    run_entry(parse(text), "golden", [*arguments, output], (1, 1, 1), source="the test", **options)
    return output.values()


DAMAGES: dict[str, tuple[str, str, str, type[Fault], str]] = {
    "an accumulator is read while a product runs": (PRODUCT, r"wgmma\.wait_group\.sync\.aligned 0;", "", faults.RaceFault, "may still be writing"),
    "an accumulator is written behind the fence": (PRODUCT, r"(wgmma\.fence\.sync\.aligned;)", r"\1 mov.b32 %d0, 0;", faults.MissingFenceFault, "wgmma.fence"),
    "stores are not fenced for the async proxy": (PRODUCT, r"fence\.proxy\.async\.shared::cta;", "", faults.MissingFenceFault, "proxy_fence"),
    "no barrier between stores and product": (PRODUCT, r"bar\.sync 0;", "", faults.RaceFault, "not ordered after"),
    "products are not waited for": (PRODUCT, r"(?s)wgmma\.wait_group.*ret;", "ret;", faults.UnfinishedFault, "not waited for"),
    "products are not committed": (PRODUCT, r"(?s)wgmma\.commit_group.*ret;", "ret;", faults.UnfinishedFault, "not committed"),
    "one warp does not multiply": (PRODUCT, r"(wgmma\.fence\.sync)", r"setp.lt.u32 %p3, %r1, 32; @%p3 bra LEAVE; \1", faults.DivergenceFault, "whole warpgroup"),
    "half a warp waits at a barrier": (PRODUCT, r"bar\.sync 0;", "and.b32 %r3, %r1, 1; setp.eq.u32 %p3, %r3, 0; @%p3 bra LEAVE; bar.sync 0;", faults.DivergenceFault, "whole warp"),
    "a predicate cuts a warp at a barrier": (PRODUCT, r"bar\.sync 0;", "and.b32 %r3, %r1, 1; setp.eq.u32 %p3, %r3, 0; @%p3 bar.sync 0;", faults.DivergenceFault, "part of a warp"),
    "descriptors differ between threads": (PRODUCT, r"(or\.b64 %rd5, %rd5, %rd8;)", r"\1 cvt.u64.u32 %rd7, %r1; add.s64 %rd5, %rd5, %rd7;", faults.DivergenceFault, "same in all threads"),
    "a descriptor with a base offset": (PRODUCT, r"(or\.b64 %rd5, %rd5, %rd8;)", r"\1 or.b64 %rd5, %rd5, 562949953421312;", faults.DescriptorFault, "base offset"),
    "a stride that no swizzle has": (PRODUCT, r"(or\.b64 %rd5, %rd5, %rd8;)", r"\1 xor.b64 %rd5, %rd5, 4294967296;", faults.MisalignedFault, "stride offset"),
    "a product beyond what was stored": (PRODUCT, r"(or\.b64 %rd6, %rd6, %rd9;)", r"\1 add.s64 %rd6, %rd6, 1024;", faults.OutOfBoundsFault, "shared memory"),
    "shared memory that nobody wrote": (PRODUCT, r"st\.shared\.v4\.b32[^;]*;", "", faults.UninitialisedFault, "nobody wrote"),
    "a shared address that is not aligned": (PRODUCT, r"st\.shared\.v4\.b32 \[%r3\]", "st.shared.v4.b32 [%r3+4]", faults.MisalignedFault, "multiple of 16"),
    "a store beyond the buffer": (PRODUCT, r"st\.global\.b32 \[%rd4\+0\]", "st.global.b32 [%rd4+8192]", faults.OutOfBoundsFault, "of output, which has"),
    "a load from nowhere": (PRODUCT, r"ld\.param\.b64 %rd3, \[start\];", "mov.b64 %rd3, 4096;", faults.OutOfBoundsFault, "no memory"),
    "a global address that is not aligned": (PRODUCT, r"st\.global\.b32 \[%rd4\+0\]", "st.global.b32 [%rd4+2]", faults.MisalignedFault, "multiple of 4"),
    "a constant is written": (PRODUCT, r"ld\.param\.b64 %rd4, \[out\];", "ld.param.b64 %rd4, [start];", faults.WriteTwiceFault, "constant"),
    "an element is written twice": (PRODUCT, r"st\.global\.b32 \[%rd4\+4\]", "st.global.b32 [%rd4+0]", faults.WriteTwiceFault, "wrote before"),
    "two threads write one element": (PRODUCT, r"mul\.wide\.u32 %rd7, %r1, 48;", "mul.wide.u32 %rd7, %r1, 0;", faults.WriteTwiceFault, "two threads"),
    "an output is read": (PRODUCT, r"(ld\.param\.b64 %rd4, \[out\];)", r"\1 ld.global.b32 %r9, [%rd4];", faults.UninitialisedFault, "nobody wrote"),
    "a parameter that is none": (PRODUCT, r"\[out\]", "[out+8]", faults.OutOfBoundsFault, "beyond the parameters"),
    "nobody waits for the predecessor": (PRODUCT, r"griddepcontrol\.wait;", "", faults.PredecessorFault, "before the predecessor"),
    "a loop that does not end": (PRODUCT, r"add\.s32 %r2, %r2, 128;", "", faults.DeadlockFault, "does not end"),
    "another barrier than the others": (PRODUCT, r"bar\.sync 0;", "shr.u32 %r3, %r1, 6; bar.sync %r3, 128;", faults.DivergenceFault, "same in all threads"),
    "a barrier for more threads than there are": (PRODUCT, r"bar\.sync 0;", "bar.sync 0, 256;", faults.DeadlockFault, "named barrier 0"),
    "a barrier that does not exist": (PRODUCT, r"bar\.sync 0;", "bar.sync 16;", faults.BarrierFault, "no named barrier 16"),
    "too few bytes are expected": (COPY, r"mov\.u32 %r2, 4096;", "mov.u32 %r2, 4080;", faults.BarrierBytesFault, "bytes"),
    "too many bytes are expected": (COPY, r"mov\.u32 %r2, 4096;", "mov.u32 %r2, 4112;", faults.BarrierBytesFault, "bytes"),
    "the copy is not waited for": (COPY, r"mov\.u32 %r3, 0;\nWAIT:", "bra.uni LATE;\nWAIT:", faults.UninitialisedFault, "nobody wrote"),
    "the wait is inverted": (COPY, r"@!%p2 bra WAIT;", "@%p2 bra WAIT;", Fault, ""),
    "the parity is the other one": (COPY, r"mov\.u32 %r3, 0;", "mov.u32 %r3, 1;", faults.UninitialisedFault, "nobody wrote"),
    "the parity of a phase that never comes": (COPY, r"(ld\.param\.b64 %rd3, \[out\];)", r"mov.u32 %r3, 1; AGAIN: mbarrier.try_wait.parity.shared::cta.b64 %p2, [%r9], %r3; @!%p2 bra AGAIN; \1", faults.DeadlockFault, "waits for parity 1"),
    "nobody arrives": (COPY, r"mbarrier\.arrive\.expect_tx\.shared::cta\.b64 _,", "mbarrier.expect_tx.relaxed.cta.shared::cta.b64", faults.DeadlockFault, "waits for parity 0"),
    "the barrier is initialised by all": (COPY, r"@%p1 bra READY;", "", faults.BarrierFault, "initialised twice"),
    "the barrier's count is 0": (COPY, r"mov\.u32 %r2, 1;", "mov.u32 %r2, 0;", faults.BarrierFault, "count 0"),
    "the barrier is not fenced": (COPY, r"fence\.mbarrier_init[^;]*;", "", faults.MissingFenceFault, "fence_barrier_init"),
    "the barrier is not aligned": (COPY, r"\[%r9\]", "[%r9+4]", faults.MisalignedFault, "8-byte"),
    "all threads copy": (COPY, r"@%p1 bra ISSUED;", "", faults.BarrierFault, "arrivals"),
    "no tensor map": (COPY, r"cvta\.param\.u64 %rd2, %rd1;", "mov.b64 %rd2, 64;", faults.DescriptorFault, "no tensor map"),
    "a tiled map read as im2col": (COPY, r"\.tile\.(mbarrier::complete_tx::bytes [^;]*\[%r9\]);", r".im2col.\1;", faults.DescriptorFault, "is tiled"),
    "a destination that is not aligned": (COPY, r"bytes \[%r8\]", "bytes [%r8+64]", faults.MisalignedFault, "multiple of 1024"),
    "a destination beyond shared memory": (COPY, r"bytes \[%r8\]", "bytes [%r8+4096]", faults.OutOfBoundsFault, "of shared memory"),
    "the block ends before the copy lands": (COPY, r"ISSUED:", "ISSUED: ret;", faults.UnfinishedFault, "in flight"),
}  # fmt: skip


@pytest.mark.parametrize("name", DAMAGES)
def test_the_damage_is_reported(name: str) -> None:
    kernel, pattern, replacement, kind, words = DAMAGES[name]
    text = replacement
    if "LEAVE" in text:
        pattern, text = f"(?s){pattern}(.*)ret;", f"{text}\\{pattern.count('(') + 1}LEAVE: ret;"
    if "LATE" in text:
        pattern, text = f"(?s){pattern}(.*)(ld\\.param\\.b64 %rd3)", f"{text}\\1LATE: \\2"
    with pytest.raises(kind) as raised:
        for seed in range(8):
            run(kernel, pattern, text, seed)
    assert words in str(raised.value)
    assert raised.value.where.startswith("@golden (the test), block 0 of 1")
    assert re.search(r"PTX line \d+", str(raised.value)) or kind in (
        faults.UnfinishedFault,
        faults.BarrierBytesFault,
        faults.PredecessorFault,
    )


@pytest.mark.parametrize("name", [PRODUCT, COPY])
def test_what_is_right_gives_no_report_in_any_order(name: str) -> None:
    expected = run(name, "", "")
    for seed in range(1, 12):
        np.testing.assert_array_equal(run(name, "", "", seed), expected)


def test_more_shared_memory_than_a_block_may_have() -> None:
    with pytest.raises(faults.OutOfBoundsFault, match="a block may have"):
        run(PRODUCT, "", "", shared=300_000)


def test_launches_that_do_not_fit_the_entry() -> None:
    module = parse(golden(COPY).ptx)
    with pytest.raises(UsageError, match="takes 5 arguments, 0 are given"):
        run_entry(module, "golden", [], (1, 1, 1))
    with pytest.raises(UsageError, match="no entry other"):
        run_entry(module, "other", [], (1, 1, 1))
    with pytest.raises(UsageError, match="whole warps"):
        run(COPY, "", "", block=(100, 1, 1))
    with pytest.raises(UsageError, match="block 1 does not exist"):
        run(COPY, "", "", blocks="1")
