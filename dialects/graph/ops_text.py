"""Ops on text."""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.dialects.builtin import ArrayAttr, StringAttr, TensorType
from xdsl.ir import Attribute
from xdsl.irdl import irdl_op_definition, operand_def, opt_prop_def, prop_def, result_def
from xdsl.utils.exceptions import VerifyException

from stepwell.dialects.graph import checks
from stepwell.dialects.graph.base import GraphOp, Value, flag, flag_def, text_def, word
from stepwell.dialects.graph.checks import Tensor
from stepwell.dialects.graph.ops_counted import counted
from stepwell.dialects.strings import string

CASES = ("lower", "upper")


@irdl_op_definition
class NormalizeTextOp(GraphOp):
    """Words without the stop words, in one case: `graph.normalize_text %x without ["monday"] to "upper" as "words" : tensor<4x!graph.string> ->
    tensor<?x!graph.string, #graph.extents<["words" * 1 in [0, 4] counted]>>`. With `any_case`, a stop word is found in every case. The words lie along the last dim of
    [C] or [1, C]; where none is left, one empty word stands for them. Without `to` words keep their case. Case is that of Unicode, of no locale."""

    name = "graph.normalize_text"

    operand = operand_def(TensorType)
    without_attr = prop_def(ArrayAttr[StringAttr], prop_name="without")
    to_attr = opt_prop_def(StringAttr, prop_name="to")
    any_case_attr = flag_def("any_case")
    symbol_attr = text_def("symbol")
    result = result_def(TensorType)
    any_case, symbol = flag("any_case"), word("symbol")

    assembly_format = "$operand `without` $without (`to` $to^)? (`any_case` $any_case^)? `as` $symbol attr-dict `:` type($operand) `->` type($result)"

    def __init__(
        self, operand: Value, *, without: Sequence[str], to: str | None = None, any_case: bool = False, symbol: str
    ) -> None:
        words = ArrayAttr([StringAttr(entry) for entry in without])
        self.construct([operand], {"without": words, "to": to, "any_case": any_case, "symbol": symbol})

    @property
    def without(self) -> tuple[str, ...]:
        """The stop words."""
        return tuple(entry.data for entry in self.without_attr)

    @property
    def to(self) -> str | None:
        """The case that words get, if any."""
        return self.to_attr.data if self.to_attr is not None else None

    def infer(self) -> Sequence[Attribute]:
        x = checks.tensor(self.operand, "the operand", (string,))
        if x.rank not in (1, 2) or (x.rank == 2 and x.shape[0] != 1):
            raise VerifyException(f"the operand has shape {list(x.shape)}: words lie in [C] or [1, C]")
        if self.to is not None and self.to not in CASES:
            raise VerifyException(f'"{self.to}" is no case: {" or ".join(CASES)}')
        most = max(1, int(x.shape[-1]))
        return [Tensor(x.element, counted(x.shape, x.rank - 1, self.symbol, most)).type]
