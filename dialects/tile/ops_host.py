"""Ops of the tile level that stand on the host side: windows of tensors and applications of kernels to tensors."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

from xdsl.dialects.builtin import (
    DenseArrayBase,
    FlatSymbolRefAttrConstr,
    FunctionType,
    SymbolRefAttr,
    TensorType,
    i64,
)
from xdsl.ir import Attribute, Operation, SSAValue
from xdsl.irdl import (
    IRDLOperation,
    irdl_op_definition,
    operand_def,
    prop_def,
    result_def,
    traits_def,
    var_operand_def,
    var_result_def,
)
from xdsl.parser import Parser
from xdsl.printer import Printer
from xdsl.traits import Pure, SymbolTable, SymbolUserOpInterface
from xdsl.utils.exceptions import VerifyException

from stepwell.dialects.tile._syntax import (
    NUMBER,
    int_array,
    parse_defined,
    parse_ints,
    parse_operands,
    print_ints,
    scalar_attr,
)
from stepwell.dialects.tile.attributes import RefType, ViewType
from stepwell.dialects.tile.ops_kernel import KernelOp
from stepwell.dialects.tile.ops_loops import LoopsKernel
from stepwell.dialects.tile.whole_rules import misfit_whole


@irdl_op_definition
class WindowOp(IRDLOperation):
    """The implicit-GEMM view of a channels-last tensor [N, spatial.., C]: logical [M, T, C] with M = N * output pixels,
    T = filter taps; element (m, t, c) = x[n, o * stride - pad + tap * dilation (per spatial dim), c], or `fill`
    outside. Nothing is copied: the host describes it by a tensor map, a pointer table or index arithmetic. `pads` are
    begins then ends. The result type is re-inferred by the verifier."""

    name = "tile.window"

    source = operand_def(TensorType)
    kernel = prop_def(DenseArrayBase.constr(i64))
    strides = prop_def(DenseArrayBase.constr(i64))
    pads = prop_def(DenseArrayBase.constr(i64))
    dilations = prop_def(DenseArrayBase.constr(i64))
    fill = prop_def(NUMBER)
    result = result_def(ViewType)

    traits = traits_def(Pure())

    def __init__(
        self,
        source: SSAValue,
        *,
        kernel: Sequence[int],
        strides: Sequence[int] | None = None,
        pads: Sequence[int] | None = None,
        dilations: Sequence[int] | None = None,
        fill: float = 0.0,
    ) -> None:
        assert isinstance(source.type, TensorType)
        defaults = _default_geometry(len(kernel))
        strides, pads, dilations = (
            strides or defaults["strides"],
            pads or defaults["pads"],
            dilations or defaults["dilations"],
        )
        shape = source.type.get_shape()
        outputs = output_extents(shape[1:-1], kernel, strides, pads, dilations)
        view = ViewType([shape[0] * prod(outputs), prod(kernel), shape[-1]], source.type.get_element_type())
        given = zip(GEOMETRY, (kernel, strides, pads, dilations), strict=True)
        properties: dict[str, Attribute] = {key: int_array(values) for key, values in given}
        properties["fill"] = scalar_attr(fill, source.type.get_element_type())
        super().__init__(operands=[source], result_types=[view], properties=properties)

    def geometry(self) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
        """Kernel, strides, pads (begins then ends) and dilations as plain integers."""
        kernel, strides, pads, dilations = (
            tuple(int(v) for v in p.get_values()) for p in (self.kernel, self.strides, self.pads, self.dilations)
        )
        return kernel, strides, pads, dilations

    def output_shape(self) -> tuple[int, ...]:
        """[N, output pixels of each spatial dim]: what M is made of."""
        assert isinstance(self.source.type, TensorType)
        shape = self.source.type.get_shape()
        return (shape[0], *output_extents(shape[1:-1], *self.geometry()))

    def verify_(self) -> None:
        assert isinstance(self.source.type, TensorType)
        shape = self.source.type.get_shape()
        kernel, strides, pads, dilations = self.geometry()
        spatial = len(shape) - 2
        if spatial < 1 or not len(kernel) == len(strides) == len(dilations) == spatial or len(pads) != 2 * spatial:
            raise VerifyException(
                f"tile.window takes [N, spatial.., C] with one kernel, stride and dilation and two pads per spatial dim; here the source has "
                f"{len(shape)} dims and there are {len(kernel)}, {len(strides)}, {len(dilations)} and {len(pads)}"
            )
        if min(*kernel, *strides, *dilations) < 1 or min(pads) < 0:
            raise VerifyException("tile.window: kernel, strides and dilations are at least 1, pads at least 0")
        outputs = output_extents(shape[1:-1], kernel, strides, pads, dilations)
        expected = ViewType([shape[0] * prod(outputs), prod(kernel), shape[-1]], self.source.type.get_element_type())
        if min(outputs) < 1:
            raise VerifyException(f"tile.window: the kernel does not fit: output extents are {list(outputs)}")
        if self.result.type != expected:
            raise VerifyException(f"tile.window makes {expected}, the op says {self.result.type}")
        if self.fill.type != self.source.type.get_element_type():
            raise VerifyException(
                f"tile.window: fill is {self.fill.type}, elements are {self.source.type.get_element_type()}"
            )

    @classmethod
    def parse(cls, parser: Parser) -> WindowOp:
        source = parse_defined(parser)
        given = {key: parse_ints(parser) for key in GEOMETRY if parser.parse_optional_keyword(key)}
        if "kernel" not in given:
            parser.raise_error("tile.window needs its kernel, as in: tile.window %x kernel [3, 3] pads [1, 1, 1, 1]")
        fill = parser.parse_attribute() if parser.parse_optional_keyword("fill") else None
        attributes = parser.parse_optional_attr_dict()
        parser.parse_punctuation(":")
        source_type = parser.parse_type()
        if not isinstance(source.type, TensorType) or source_type != source.type:
            parser.raise_error(f"tile.window: the operand is {source.type}, the op says {source_type}")
        parser.parse_punctuation("->")
        result = parser.parse_type()
        defaults = _default_geometry(len(given["kernel"]))
        properties: dict[str, Attribute] = {key: int_array(given.get(key, defaults[key])) for key in GEOMETRY}
        properties["fill"] = fill or scalar_attr(0, source.type.get_element_type())
        op = cls.create(operands=[source], result_types=[result], properties=properties)
        op.attributes |= attributes
        return op

    def print(self, printer: Printer) -> None:
        printer.print_string(" ")
        printer.print_ssa_value(self.source)
        defaults = _default_geometry(len(self.geometry()[0]))
        for key, values in zip(GEOMETRY, self.geometry(), strict=True):
            if list(values) != defaults[key]:
                printer.print_string(f" {key} ")
                print_ints(printer, values)
        if self.fill != scalar_attr(0, self.fill.type):
            printer.print_string(" fill ")
            printer.print_attribute(self.fill)
        printer.print_op_attributes(self.attributes)
        printer.print_string(" : ")
        printer.print_attribute(self.source.type)
        printer.print_string(" -> ")
        printer.print_attribute(self.result.type)


GEOMETRY = ("kernel", "strides", "pads", "dilations")


def _default_geometry(spatial: int) -> dict[str, list[int]]:
    return {"kernel": [], "strides": [1] * spatial, "pads": [0] * (2 * spatial), "dilations": [1] * spatial}


def output_extents(
    extents: Sequence[int], kernel: Sequence[int], strides: Sequence[int], pads: Sequence[int], dilations: Sequence[int]
) -> tuple[int, ...]:
    """floor((x + begin + end - dilation * (kernel - 1) - 1) / stride) + 1 per spatial dim (ONNX Conv)."""
    dims = len(extents)
    return tuple(
        (extents[d] + pads[d] + pads[dims + d] - dilations[d] * (kernel[d] - 1) - 1) // strides[d] + 1
        for d in range(dims)
    )


class _KernelUse(SymbolUserOpInterface):
    """An application's operands and results fit the refs of the kernel that it names."""

    def verify(self, op: Operation) -> None:
        assert isinstance(op, ApplyOp)
        kernel = SymbolTable.lookup_symbol(op, op.kernel)
        if isinstance(kernel, LoopsKernel):
            if kernel.function_type != FunctionType.from_lists(op.operand_types, op.result_types):
                raise VerifyException(f"tile.apply: {op.kernel} is {kernel.function_type}, not what it is applied to")
            return
        if not isinstance(kernel, KernelOp):
            raise VerifyException(f"tile.apply: there is no tile.kernel {op.kernel} in this module")
        refs = kernel.function_type
        if len(refs.inputs) != len(op.operands) or len(refs.outputs) != len(op.results):
            raise VerifyException(
                f"tile.apply: {op.kernel} takes {len(refs.inputs)} and gives {len(refs.outputs)} tensors, here are {len(op.operands)} "
                f"and {len(op.results)}"
            )
        refs_and_values = zip((*refs.inputs, *refs.outputs), (*op.operands, *op.results), strict=True)
        for position, (ref, value) in enumerate(refs_and_values):
            assert isinstance(ref, RefType)
            reason = misfit(ref, value.type)
            if reason:
                raise VerifyException(
                    f"tile.apply: value {position} of {op.kernel}, {value.type}, does not fit {ref}: {reason}"
                )
        for output, value in zip(kernel.outputs, op.results, strict=True):
            assert isinstance(value.type, TensorType)
            if kernel.config.data.takes_whole and (reason := misfit_whole(output, value.type.get_shape())):
                raise VerifyException(f"tile.apply: {op.kernel} does not fit {value.type}: {reason}")
        for position, load_fill in kernel.window_fills().items():
            window = op.operands[position].owner
            if isinstance(window, WindowOp) and window.fill != load_fill:
                raise VerifyException(
                    f"tile.apply: the window fills with {window.fill}, {op.kernel} loads it with {load_fill}"
                )


def misfit(ref: RefType, value_type: Attribute) -> str:
    """Why a value of `value_type` cannot be bound to `ref`; empty when it can."""
    if ref.access.kind == "window":
        return (
            _misfit_shape(ref, value_type, 3)
            if isinstance(value_type, ViewType)
            else "a window ref takes a tile.window"
        )
    if not isinstance(value_type, TensorType):
        return f"a {ref.access.kind} ref takes a tensor"
    if not ref.access.panel:
        return _misfit_shape(ref, value_type, ref.rank)
    reason = _misfit_shape(ref, value_type, 4)
    if not reason and value_type.get_shape()[-1] != ref.access.panel:
        return f"panels are stored as [N/P, T, K, P] with P = {ref.access.panel}"
    return reason


def _misfit_shape(ref: RefType, value_type: Any, rank: int) -> str:
    if len(value_type.get_shape()) != rank:
        return f"rank {rank} is needed"
    return "" if value_type.element_type == ref.element_type else "the element types differ"


@irdl_op_definition
class ApplyOp(IRDLOperation):
    """Apply a kernel to whole tensors: one launch. Operands are bound to the kernel's input refs, results are the
    tensors behind its output refs."""

    name = "tile.apply"

    kernel = prop_def(FlatSymbolRefAttrConstr)
    inputs = var_operand_def()
    outputs = var_result_def(TensorType)

    traits = traits_def(Pure(), _KernelUse())

    def __init__(
        self, kernel: str | SymbolRefAttr, inputs: Sequence[SSAValue], result_types: Sequence[Attribute]
    ) -> None:
        symbol = SymbolRefAttr(kernel) if isinstance(kernel, str) else kernel
        super().__init__(operands=[inputs], result_types=[result_types], properties={"kernel": symbol})

    @classmethod
    def parse(cls, parser: Parser) -> ApplyOp:
        kernel = parser.parse_symbol_name()
        inputs = parse_operands(parser, Parser.Delimiter.PAREN)
        attributes = parser.parse_optional_attr_dict()
        parser.parse_punctuation(":")
        function_type = parser.parse_function_type()
        if list(function_type.inputs) != [value.type for value in inputs]:
            parser.raise_error("the operand types of tile.apply differ from those of its operands")
        op = cls(kernel.data, inputs, list(function_type.outputs))
        op.attributes |= attributes
        return op

    def print(self, printer: Printer) -> None:
        printer.print_string(" ")
        printer.print_symbol_name(self.kernel.string_value())
        printer.print_operands(self.inputs)
        printer.print_op_attributes(self.attributes)
        printer.print_string(" : ")
        printer.print_function_type(self.operand_types, self.result_types)
