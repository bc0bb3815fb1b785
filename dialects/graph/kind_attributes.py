"""The attributes of kinds, modes and layouts: each prints as a bare keyword in an op's own syntax."""

from __future__ import annotations

from xdsl.dialects.utils import EnumAttribute
from xdsl.ir import SpacedOpaqueSyntaxAttribute
from xdsl.irdl import irdl_attr_definition

from stepwell.dialects.graph.kinds import (
    Activation,
    BinaryKind,
    CollectiveKind,
    CombineKind,
    CompareKind,
    Coordinates,
    CumulativeKind,
    ExtremeKind,
    Layout,
    LinearRule,
    NearestRounding,
    Outside,
    PoolKind,
    ReduceKind,
    ResizeMode,
    RoiKind,
    Rounding,
    UnaryKind,
)


@irdl_attr_definition
class LayoutAttr(EnumAttribute[Layout], SpacedOpaqueSyntaxAttribute):
    """`#graph<layout channels_last>`; a bare keyword in an op's own syntax."""

    name = "graph.layout"


@irdl_attr_definition
class UnaryKindAttr(EnumAttribute[UnaryKind], SpacedOpaqueSyntaxAttribute):
    """`#graph<unary_kind relu>`; a bare keyword in an op's own syntax."""

    name = "graph.unary_kind"


@irdl_attr_definition
class BinaryKindAttr(EnumAttribute[BinaryKind], SpacedOpaqueSyntaxAttribute):
    """`#graph<binary_kind add>`; a bare keyword in an op's own syntax."""

    name = "graph.binary_kind"


@irdl_attr_definition
class CompareKindAttr(EnumAttribute[CompareKind], SpacedOpaqueSyntaxAttribute):
    """`#graph<compare_kind lt>`; a bare keyword in an op's own syntax."""

    name = "graph.compare_kind"


@irdl_attr_definition
class PoolKindAttr(EnumAttribute[PoolKind], SpacedOpaqueSyntaxAttribute):
    """`#graph<pool_kind max>`; a bare keyword in an op's own syntax."""

    name = "graph.pool_kind"


@irdl_attr_definition
class ReduceKindAttr(EnumAttribute[ReduceKind], SpacedOpaqueSyntaxAttribute):
    """`#graph<reduce_kind sum>`; a bare keyword in an op's own syntax."""

    name = "graph.reduce_kind"


@irdl_attr_definition
class ExtremeKindAttr(EnumAttribute[ExtremeKind], SpacedOpaqueSyntaxAttribute):
    """`#graph<extreme_kind max>`; a bare keyword in an op's own syntax."""

    name = "graph.extreme_kind"


@irdl_attr_definition
class CumulativeKindAttr(EnumAttribute[CumulativeKind], SpacedOpaqueSyntaxAttribute):
    """`#graph<cumulative_kind sum>`; a bare keyword in an op's own syntax."""

    name = "graph.cumulative_kind"


@irdl_attr_definition
class CombineKindAttr(EnumAttribute[CombineKind], SpacedOpaqueSyntaxAttribute):
    """`#graph<combine_kind add>`; a bare keyword in an op's own syntax."""

    name = "graph.combine_kind"


@irdl_attr_definition
class RoundingAttr(EnumAttribute[Rounding], SpacedOpaqueSyntaxAttribute):
    """`#graph<rounding up>`; a bare keyword in an op's own syntax."""

    name = "graph.rounding"


@irdl_attr_definition
class ResizeModeAttr(EnumAttribute[ResizeMode], SpacedOpaqueSyntaxAttribute):
    """`#graph<resize_mode linear>`; a bare keyword in an op's own syntax."""

    name = "graph.resize_mode"


@irdl_attr_definition
class CoordinatesAttr(EnumAttribute[Coordinates], SpacedOpaqueSyntaxAttribute):
    """`#graph<coordinates half_pixel>`; a bare keyword in an op's own syntax."""

    name = "graph.coordinates"


@irdl_attr_definition
class NearestRoundingAttr(EnumAttribute[NearestRounding], SpacedOpaqueSyntaxAttribute):
    """`#graph<nearest_rounding floor>`; a bare keyword in an op's own syntax."""

    name = "graph.nearest_rounding"


@irdl_attr_definition
class OutsideAttr(EnumAttribute[Outside], SpacedOpaqueSyntaxAttribute):
    """`#graph<outside zeros>`; a bare keyword in an op's own syntax."""

    name = "graph.outside"


@irdl_attr_definition
class RoiKindAttr(EnumAttribute[RoiKind], SpacedOpaqueSyntaxAttribute):
    """`#graph<roi_kind max>`; a bare keyword in an op's own syntax."""

    name = "graph.roi_kind"


@irdl_attr_definition
class ActivationAttr(EnumAttribute[Activation], SpacedOpaqueSyntaxAttribute):
    """`#graph<activation tanh>`; a bare keyword in an op's own syntax."""

    name = "graph.activation"


@irdl_attr_definition
class LinearRuleAttr(EnumAttribute[LinearRule], SpacedOpaqueSyntaxAttribute):
    """`#graph<linear_rule gated_delta>`; a bare keyword in an op's own syntax."""

    name = "graph.linear_rule"


@irdl_attr_definition
class CollectiveKindAttr(EnumAttribute[CollectiveKind], SpacedOpaqueSyntaxAttribute):
    """`#graph<collective_kind all_reduce>`; a bare keyword in an op's own syntax."""

    name = "graph.collective_kind"
