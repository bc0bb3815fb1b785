"""The whitelist of LLVM intrinsics: name -> signature. An unknown `llvm.nvvm.*` name passes LLVM as a call to nowhere, and some known ones
abort the process, so nothing reaches LLVM that is not listed here (each was seen to select on the targets named).

A signature is LLVM text: `T` is the overloaded type, whose mangled form is appended to the name; `M` is the vector of i1 as long as `T`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from stepwell.runtime.errors import UsageError

CPU, CUDA = "cpu", "sm_90a"
BOTH = (CPU, CUDA)
SHARED, GLOBAL, GENERIC, CLUSTER = "ptr addrspace(3)", "ptr addrspace(1)", "ptr", "ptr addrspace(7)"


@dataclass(frozen=True)
class Intrinsic:
    """One intrinsic: result and operand types, the targets where it selects, and the operand positions that must be constants.
    `suffix`: what follows the mangled overloaded type in the name (`.p0`)."""

    name: str
    result: str
    operands: tuple[str, ...] = ()
    targets: tuple[str, ...] = BOTH
    immediates: tuple[int, ...] = ()
    suffix: str = ""

    @property
    def overloaded(self) -> bool:
        return "T" in (self.result, *self.operands)

    def __str__(self) -> str:
        return f"{self.result} @{self.name}({', '.join(self.operands)})"


def _overloaded(names: str, count: int, targets: tuple[str, ...] = BOTH) -> list[Intrinsic]:
    return [Intrinsic(name, "T", ("T",) * count, targets) for name in names.split()]


_MATH = [
    *_overloaded("llvm.fabs llvm.sqrt llvm.floor llvm.ceil llvm.trunc llvm.rint llvm.roundeven", 1),
    *_overloaded("llvm.minnum llvm.maxnum llvm.minimum llvm.maximum llvm.copysign", 2),
    *_overloaded("llvm.smin llvm.smax llvm.umin llvm.umax", 2),
    *_overloaded("llvm.fma", 3),
    *_overloaded("llvm.exp2", 1, (CUDA,)),
]
_CPU = [
    Intrinsic("llvm.masked.load", "T", ("ptr", "M", "T"), (CPU,), suffix=".p0"),
    Intrinsic("llvm.masked.store", "void", ("T", "ptr", "M"), (CPU,), suffix=".p0"),
    Intrinsic("llvm.prefetch.p0", "void", ("ptr", "i32", "i32", "i32"), (CPU,), (1, 2, 3)),
    Intrinsic("llvm.x86.sse2.pause", "void", (), (CPU,)),
    Intrinsic("llvm.x86.sse.ldmxcsr", "void", ("ptr",), (CPU,)),
    Intrinsic("llvm.x86.sse.stmxcsr", "void", ("ptr",), (CPU,)),
    Intrinsic("llvm.memcpy.p0.p0.i64", "void", ("ptr", "ptr", "i64", "i1"), (CPU,), (3,)),
    Intrinsic("llvm.memset.p0.i64", "void", ("ptr", "i8", "i64", "i1"), (CPU,), (3,)),
]
_SREG = [
    Intrinsic(f"llvm.nvvm.read.ptx.sreg.{name}", "i32", (), (CUDA,))
    for name in (*(f"{r}.{axis}" for r in ("tid", "ntid", "ctaid", "nctaid") for axis in "xyz"), "laneid", "warpid")
]
_NVVM = [
    Intrinsic("llvm.nvvm.barrier.cta.sync.aligned.all", "void", ("i32",), (CUDA,)),
    Intrinsic("llvm.nvvm.barrier.cta.sync.aligned.count", "void", ("i32", "i32"), (CUDA,)),
    Intrinsic("llvm.nvvm.barrier.cta.arrive.aligned.count", "void", ("i32", "i32"), (CUDA,)),
    Intrinsic("llvm.nvvm.griddepcontrol.wait", "void", (), (CUDA,)),
    Intrinsic("llvm.nvvm.griddepcontrol.launch.dependents", "void", (), (CUDA,)),
    Intrinsic("llvm.nvvm.setmaxnreg.inc.sync.aligned.u32", "void", ("i32",), (CUDA,), (0,)),
    Intrinsic("llvm.nvvm.setmaxnreg.dec.sync.aligned.u32", "void", ("i32",), (CUDA,), (0,)),
    Intrinsic("llvm.nvvm.fence.proxy.async.shared_cta", "void", (), (CUDA,)),
    Intrinsic("llvm.nvvm.mbarrier.init.shared", "void", (SHARED, "i32"), (CUDA,)),
    Intrinsic("llvm.nvvm.mbarrier.inval.shared", "void", (SHARED,), (CUDA,)),
    Intrinsic("llvm.nvvm.wgmma.fence.sync.aligned", "void", (), (CUDA,)),
    Intrinsic("llvm.nvvm.wgmma.commit_group.sync.aligned", "void", (), (CUDA,)),
    Intrinsic("llvm.nvvm.wgmma.wait_group.sync.aligned", "void", ("i64",), (CUDA,), (0,)),
    Intrinsic("llvm.nvvm.shfl.sync.idx.i32", "i32", ("i32", "i32", "i32", "i32"), (CUDA,)),
    Intrinsic("llvm.nvvm.shfl.sync.bfly.f32", "float", ("i32", "float", "i32", "i32"), (CUDA,)),
    Intrinsic("llvm.nvvm.shfl.sync.bfly.i32", "i32", ("i32", "i32", "i32", "i32"), (CUDA,)),
    Intrinsic("llvm.nvvm.redux.sync.max", "i32", ("i32", "i32"), (CUDA,)),
    Intrinsic("llvm.nvvm.elect.sync", "{ i32, i1 }", ("i32",), (CUDA,)),
    Intrinsic("llvm.nvvm.prefetch.tensormap.p0", "void", (GENERIC,), (CUDA,)),
    Intrinsic("llvm.nvvm.cp.async.bulk.commit.group", "void", (), (CUDA,)),
    Intrinsic("llvm.nvvm.cp.async.bulk.wait.group.read", "void", ("i32",), (CUDA,), (0,)),
]


def _tma(dims: int, *, im2col: bool) -> Intrinsic:
    """Tensor-map load to shared memory: destination, barrier, map, coordinates, im2col offsets, multicast mask, cache hint, two flags, cta group."""
    mode = "im2col" if im2col else "tile"
    offsets = ("i16",) * (dims - 2) if im2col else ()
    operands = (CLUSTER, SHARED, GENERIC, *("i32",) * dims, *offsets, "i16", "i64", "i1", "i1", "i32")
    last = len(operands) - 1
    return Intrinsic(
        f"llvm.nvvm.cp.async.bulk.tensor.g2s.{mode}.{dims}d", "void", operands, (CUDA,), (last - 2, last - 1, last)
    )


def _tma_store(dims: int) -> Intrinsic:
    operands = (SHARED, GENERIC, *("i32",) * dims, "i64", "i1")
    return Intrinsic(
        f"llvm.nvvm.cp.async.bulk.tensor.s2g.tile.{dims}d", "void", operands, (CUDA,), (len(operands) - 1,)
    )


_TMA = [
    *(_tma(d, im2col=False) for d in range(1, 6)),
    *(_tma(d, im2col=True) for d in range(3, 6)),
    *(_tma_store(d) for d in range(1, 6)),
]

INTRINSICS: Mapping[str, Intrinsic] = MappingProxyType({i.name: i for i in (*_MATH, *_CPU, *_SREG, *_NVVM, *_TMA)})
"""Base name -> signature."""


def check_name(name: str) -> Intrinsic:
    """The signature of `name`; UsageError that names it (and near names) when it is not whitelisted."""
    if found := INTRINSICS.get(name):
        return found
    words = set(re.split(r"[._]", name)) - {"llvm", "nvvm"}
    near = sorted(INTRINSICS, key=lambda n: -len(words & set(re.split(r"[._]", n))))[:3]
    raise UsageError(
        f"intrinsic '{name}' is not whitelisted",
        hint=f"near: {', '.join(near)}; add it to stepwell.codegen.intrinsics after seeing that it selects on its targets",
    )
