"""The `warp` dialect: GPU kernels as the code of one thread, with tiles held in registers as fragments (any CUDA target)."""

from __future__ import annotations

from xdsl.ir import Dialect

from stepwell.dialects.warp.attributes import FragmentAttr, GlobalType
from stepwell.dialects.warp.ops import (
    MAX_SHARED,
    REGISTER_FILE,
    BarrierArriveOp,
    BarrierAtOp,
    BarrierOp,
    BlockIdOp,
    DivideOp,
    GridDimOp,
    KernelOp,
    LaunchDependentsOp,
    ReturnOp,
    ThreadIdOp,
    WaitPredecessorOp,
    WithinOp,
)
from stepwell.dialects.warp.ops_exchange import SharedLoadOp, SharedStoreOp, ShuffleOp
from stepwell.dialects.warp.ops_fragment import (
    FragmentIndexOp,
    FragmentLoadOp,
    FragmentLoadRowOp,
    FragmentStoreOp,
    GatherOp,
    LoadOp,
    ScatterOp,
    SpreadOp,
    StoreOp,
)

__all__ = [
    "DIALECT",
    "MAX_SHARED",
    "REGISTER_FILE",
    "WARP",
    "BarrierArriveOp",
    "BarrierAtOp",
    "BarrierOp",
    "BlockIdOp",
    "DivideOp",
    "FragmentAttr",
    "FragmentIndexOp",
    "FragmentLoadOp",
    "FragmentLoadRowOp",
    "FragmentStoreOp",
    "GatherOp",
    "GlobalType",
    "GridDimOp",
    "KernelOp",
    "LaunchDependentsOp",
    "LoadOp",
    "ReturnOp",
    "ScatterOp",
    "SharedLoadOp",
    "SharedStoreOp",
    "ShuffleOp",
    "SpreadOp",
    "StoreOp",
    "ThreadIdOp",
    "WaitPredecessorOp",
    "WithinOp",
]

WARP = DIALECT = Dialect(
    "warp",
    [
        KernelOp,
        ReturnOp,
        ThreadIdOp,
        BlockIdOp,
        GridDimOp,
        BarrierOp,
        BarrierAtOp,
        BarrierArriveOp,
        WaitPredecessorOp,
        LaunchDependentsOp,
        DivideOp,
        WithinOp,
        FragmentLoadOp,
        FragmentLoadRowOp,
        FragmentStoreOp,
        FragmentIndexOp,
        SpreadOp,
        GatherOp,
        ScatterOp,
        ShuffleOp,
        SharedStoreOp,
        SharedLoadOp,
        LoadOp,
        StoreOp,
    ],
    [GlobalType, FragmentAttr],
)
