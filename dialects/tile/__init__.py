"""The tile dialect: how each kernel computes what a fusion computes: a grid over the output, loops over tiles, tiles as
SSA values.

Kernels hold no extents: they read them from their refs, so that kernels which differ only in extents are structurally
equal."""

from xdsl.ir import Dialect

from stepwell.dialects.tile.attributes import Access, AccessAttr, RefType, Residence, ResidenceAttr, TileType, ViewType
from stepwell.dialects.tile.config import Config, ConfigAttr
from stepwell.dialects.tile.layouts import (
    LAYOUTS,
    MmaSyncAttr,
    SharedAttr,
    SliceAttr,
    ThreadsAttr,
    WgmmaAAttr,
    WgmmaAttr,
)
from stepwell.dialects.tile.ops_compute import FinishOp, MapOp, MmaOp, in_flight
from stepwell.dialects.tile.ops_copy import DrainOp, FetchOp, ReadOp
from stepwell.dialects.tile.ops_host import ApplyOp, WindowOp
from stepwell.dialects.tile.ops_inside import InsideOp
from stepwell.dialects.tile.ops_kernel import ONE_WAVE, KernelOp
from stepwell.dialects.tile.ops_loop import ForOp, ForTilesOp, WaitPredecessorOp, YieldOp
from stepwell.dialects.tile.ops_loops import LoopsKernel, LoopsOp
from stepwell.dialects.tile.ops_parallel import ParallelOp
from stepwell.dialects.tile.ops_reduce import IotaOp, ReduceOp, RelayoutOp
from stepwell.dialects.tile.ops_ring import AcquireOp, AwaitOp, PublishOp, ReleaseOp, RingOp, RingType, WriteOp
from stepwell.dialects.tile.ops_role import RoleOp, TurnOp
from stepwell.dialects.tile.ops_rows import ForRowsOp
from stepwell.dialects.tile.ops_tiles import BroadcastOp, FillOp, LoadOp, StoreOp

OPS = (
    KernelOp, LoopsOp, ParallelOp, ApplyOp, WindowOp, RoleOp, TurnOp, WaitPredecessorOp, ForTilesOp, ForRowsOp, ForOp, YieldOp,
    RingOp, FetchOp, AwaitOp, ReleaseOp, AcquireOp, WriteOp, PublishOp, DrainOp, ReadOp,
    LoadOp, StoreOp, FillOp, MmaOp, FinishOp, MapOp, BroadcastOp,
    InsideOp, ReduceOp, IotaOp, RelayoutOp,
)  # fmt: skip
TILE = Dialect(
    "tile", list(OPS), [TileType, RefType, ViewType, RingType, ResidenceAttr, AccessAttr, ConfigAttr, *LAYOUTS]
)
DIALECT = TILE

__all__ = [
    "DIALECT",
    "ONE_WAVE",
    "TILE",
    "Access",
    "AccessAttr",
    "AcquireOp",
    "ApplyOp",
    "AwaitOp",
    "BroadcastOp",
    "Config",
    "ConfigAttr",
    "DrainOp",
    "FetchOp",
    "FillOp",
    "FinishOp",
    "ForOp",
    "ForRowsOp",
    "ForTilesOp",
    "InsideOp",
    "IotaOp",
    "KernelOp",
    "LoadOp",
    "LoopsKernel",
    "LoopsOp",
    "MapOp",
    "MmaOp",
    "MmaSyncAttr",
    "ParallelOp",
    "PublishOp",
    "ReadOp",
    "ReduceOp",
    "RefType",
    "RelayoutOp",
    "ReleaseOp",
    "Residence",
    "ResidenceAttr",
    "RingOp",
    "RingType",
    "RoleOp",
    "SharedAttr",
    "SliceAttr",
    "StoreOp",
    "ThreadsAttr",
    "TileType",
    "TurnOp",
    "ViewType",
    "WaitPredecessorOp",
    "WgmmaAAttr",
    "WgmmaAttr",
    "WindowOp",
    "WriteOp",
    "YieldOp",
    "in_flight",
]
