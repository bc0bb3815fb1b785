"""The graph dialect: what the network computes. Pure SSA on static tensors, explicit padding and broadcasting, weights by reference."""

from __future__ import annotations

from xdsl.ir import Dialect

from stepwell.dialects.graph.attributes import (
    BinaryKind,
    BinaryKindAttr,
    Layout,
    LayoutAttr,
    PoolKind,
    PoolKindAttr,
    StepAttr,
    UnaryKind,
    UnaryKindAttr,
    WeightAttr,
)
from stepwell.dialects.graph.ops_contraction import ConvOp, MatmulOp
from stepwell.dialects.graph.ops_elementwise import BinaryOp, CastOp, UnaryOp
from stepwell.dialects.graph.ops_fusion import FusionOp, YieldOp
from stepwell.dialects.graph.ops_movement import BroadcastOp, ReshapeOp, TransposeOp, WeightOp
from stepwell.dialects.graph.ops_window import PoolOp

DIALECT = Dialect(
    "graph",
    [
        BinaryOp,
        BroadcastOp,
        CastOp,
        ConvOp,
        FusionOp,
        MatmulOp,
        PoolOp,
        ReshapeOp,
        TransposeOp,
        UnaryOp,
        WeightOp,
        YieldOp,
    ],
    [BinaryKindAttr, LayoutAttr, PoolKindAttr, StepAttr, UnaryKindAttr, WeightAttr],
)
GRAPH = DIALECT

__all__ = [
    "DIALECT",
    "GRAPH",
    "BinaryKind",
    "BinaryKindAttr",
    "BinaryOp",
    "BroadcastOp",
    "CastOp",
    "ConvOp",
    "FusionOp",
    "Layout",
    "LayoutAttr",
    "MatmulOp",
    "PoolKind",
    "PoolKindAttr",
    "PoolOp",
    "ReshapeOp",
    "StepAttr",
    "TransposeOp",
    "UnaryKind",
    "UnaryKindAttr",
    "UnaryOp",
    "WeightAttr",
    "WeightOp",
    "YieldOp",
]
