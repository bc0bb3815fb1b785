"""The tile dialect: how each kernel computes what a fusion computes: a grid over the output, loops over tiles, tiles as
SSA values.

Kernels hold no extents: they read them from their refs, so that kernels which differ only in extents are structurally
equal."""

from xdsl.ir import Dialect

from stepwell.dialects.tile.attributes import Access, AccessAttr, RefType, Residence, ResidenceAttr, TileType, ViewType
from stepwell.dialects.tile.config import Config, ConfigAttr
from stepwell.dialects.tile.ops_compute import MapOp, MmaOp
from stepwell.dialects.tile.ops_host import ApplyOp, WindowOp
from stepwell.dialects.tile.ops_kernel import KernelOp
from stepwell.dialects.tile.ops_loop import ForOp, ForTilesOp, WaitPredecessorOp, YieldOp
from stepwell.dialects.tile.ops_nest import NestOp
from stepwell.dialects.tile.ops_tiles import BroadcastOp, FillOp, LoadOp, StoreOp

OPS = (
    KernelOp, NestOp, ApplyOp, WindowOp, WaitPredecessorOp, ForTilesOp, ForOp, YieldOp,
    LoadOp, StoreOp, FillOp, MmaOp, MapOp, BroadcastOp,
)  # fmt: skip
TILE = Dialect("tile", list(OPS), [TileType, RefType, ViewType, ResidenceAttr, AccessAttr, ConfigAttr])
DIALECT = TILE

__all__ = [
    "DIALECT",
    "TILE",
    "Access",
    "AccessAttr",
    "ApplyOp",
    "BroadcastOp",
    "Config",
    "ConfigAttr",
    "FillOp",
    "ForOp",
    "ForTilesOp",
    "KernelOp",
    "LoadOp",
    "MapOp",
    "MmaOp",
    "NestOp",
    "RefType",
    "Residence",
    "ResidenceAttr",
    "StoreOp",
    "TileType",
    "ViewType",
    "WaitPredecessorOp",
    "WindowOp",
    "YieldOp",
]
