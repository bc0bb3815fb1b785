"""The `hopper` dialect: what only sm_90a has: TMA loads, mbarriers, warpgroup roles with register budgets, wgmma."""

from __future__ import annotations

from xdsl.ir import Dialect

from stepwell.dialects.hopper.attributes import PendingType, TensorMapType
from stepwell.dialects.hopper.ops import (
    INSTRUCTION_BYTES,
    WARPGROUP,
    ElectOp,
    RoleOp,
    SetMaxRegistersOp,
    WarpgroupIdOp,
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
from stepwell.dialects.hopper.ops_product import (
    DescriptorOp,
    WgmmaBeginOp,
    WgmmaOp,
    WgmmaRegistersOp,
    WgmmaWaitOp,
    WgmmaZeroOp,
)
from stepwell.dialects.hopper.ops_store import (
    BulkCommitOp,
    BulkWaitOp,
    FragmentFromSharedOp,
    FragmentToSharedOp,
    TmaStoreOp,
)

__all__ = [
    "DIALECT",
    "HOPPER",
    "INSTRUCTION_BYTES",
    "WARPGROUP",
    "ArriveOp",
    "BulkCommitOp",
    "BulkWaitOp",
    "DescriptorOp",
    "ElectOp",
    "ExpectBytesOp",
    "ExpectMoreBytesOp",
    "FenceBarrierInitOp",
    "FragmentFromSharedOp",
    "FragmentToSharedOp",
    "MbarrierInitOp",
    "PendingType",
    "PrefetchTensorMapOp",
    "ProxyFenceOp",
    "RoleOp",
    "SetMaxRegistersOp",
    "TensorMapType",
    "TmaLoadIm2colOp",
    "TmaLoadOp",
    "TmaStoreOp",
    "WaitOp",
    "WarpgroupIdOp",
    "WgmmaBeginOp",
    "WgmmaOp",
    "WgmmaRegistersOp",
    "WgmmaWaitOp",
    "WgmmaZeroOp",
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
        WgmmaZeroOp,
        WgmmaOp,
        WgmmaRegistersOp,
        WgmmaWaitOp,
        FragmentToSharedOp,
        FragmentFromSharedOp,
        TmaStoreOp,
        BulkCommitOp,
        BulkWaitOp,
    ],
    [TensorMapType, PendingType],
)
