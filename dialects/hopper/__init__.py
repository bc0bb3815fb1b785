"""The `hopper` dialect: what only sm_90a has: TMA loads, mbarriers, warpgroup roles with register budgets, wgmma."""

from __future__ import annotations

from xdsl.ir import Dialect

from stepwell.dialects.hopper.attributes import PendingType, TensorMapType
from stepwell.dialects.hopper.ops import (
    INSTRUCTION_BYTES,
    WARPGROUP,
    DescriptorOp,
    ElectOp,
    RoleOp,
    SetMaxRegistersOp,
    WarpgroupIdOp,
    WgmmaBeginOp,
    WgmmaOp,
    WgmmaWaitOp,
)
from stepwell.dialects.hopper.ops_memory import (
    ArriveOp,
    ExpectBytesOp,
    ExpectMoreBytesOp,
    FenceBarrierInitOp,
    MbarrierInitOp,
    PrefetchTensorMapOp,
    ProxyFenceOp,
    TmaLoadIm2colOp,
    TmaLoadOp,
    WaitOp,
)

__all__ = [
    "DIALECT",
    "HOPPER",
    "INSTRUCTION_BYTES",
    "WARPGROUP",
    "ArriveOp",
    "DescriptorOp",
    "ElectOp",
    "ExpectBytesOp",
    "ExpectMoreBytesOp",
    "FenceBarrierInitOp",
    "MbarrierInitOp",
    "PendingType",
    "PrefetchTensorMapOp",
    "ProxyFenceOp",
    "RoleOp",
    "SetMaxRegistersOp",
    "TensorMapType",
    "TmaLoadIm2colOp",
    "TmaLoadOp",
    "WaitOp",
    "WarpgroupIdOp",
    "WgmmaBeginOp",
    "WgmmaOp",
    "WgmmaWaitOp",
]

HOPPER = DIALECT = Dialect(
    "hopper",
    [
        MbarrierInitOp,
        FenceBarrierInitOp,
        ExpectBytesOp,
        ExpectMoreBytesOp,
        ArriveOp,
        WaitOp,
        ProxyFenceOp,
        PrefetchTensorMapOp,
        TmaLoadOp,
        TmaLoadIm2colOp,
        RoleOp,
        ElectOp,
        WarpgroupIdOp,
        SetMaxRegistersOp,
        DescriptorOp,
        WgmmaBeginOp,
        WgmmaOp,
        WgmmaWaitOp,
    ],
    [TensorMapType, PendingType],
)
