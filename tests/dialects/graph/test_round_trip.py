"""Every op of the graph dialect survives text in both syntaxes; its verifier says what is wrong and what to do."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from xdsl.dialects import builtin, func
from xdsl.dialects.builtin import ModuleOp
from xdsl.rewriter import Rewriter
from xdsl.utils.exceptions import VerifyException

from stepwell.dialects import graph
from stepwell.ir.printing import module_text
from stepwell.ir.source import SourceMap, parse_text
from stepwell.plugins.universe import make_context
from stepwell.runtime.errors import StepwellError
from stepwell.testing.strategies import GeneratedGraph, op_modules

HASH = "0" * 64


def parse(text: str) -> ModuleOp:
    return parse_text(make_context(), text, SourceMap("test"))


def body(ops: str, arguments: str = "") -> str:
    return f"func.func @main({arguments}) {{\n{ops}\nfunc.return\n}}"


@given(case=op_modules())
def test_generated_ops_round_trip(case: GeneratedGraph) -> None:
    for generic in (False, True):
        text = module_text(case.module, generic=generic)
        again = parse(text)
        again.verify()
        assert module_text(again, generic=generic) == text


@pytest.mark.parametrize("symbol", ["kept", 'a"b', "a\\b\n", "é", "1 * 2]>"])
@pytest.mark.parametrize("generic", [False, True])
def test_any_name_of_a_symbol_round_trips(symbol: str, generic: bool) -> None:
    """Symbols are called after nodes, and those after what a user wrote."""
    op = "%y = graph.compact %x, %m dim 0 as {0} : (tensor<3x2xf32>, tensor<3xi1>) -> tensor<?x2xf32, #graph.extents<[{0} * 1 in [0, 3] counted]>>"
    module = parse(body(op.format('"kept"'), "%x: tensor<3x2xf32>, %m: tensor<3xi1>"))
    (compact,) = [op for op in module.walk() if isinstance(op, graph.CompactOp)]
    renamed = graph.CompactOp(compact.operand, compact.mask, dim=0, symbol=symbol)
    Rewriter.replace_op(compact, renamed)
    text = module_text(module, generic=generic)
    again = parse(text)
    again.verify()
    assert module_text(again, generic=generic) == text
    (found,) = [op for op in again.walk() if isinstance(op, graph.CompactOp)]
    assert found.symbol == symbol and found.result.type == renamed.result.type


EXAMPLES = f"""
graph.weight #graph.weight<"w", "{HASH}", tensor<4x6xf32>, [#graph.step<"slice", [1, 0, 5]>, #graph.step<"pad", [0, 8]>, \
#graph.step<"panels", [4]>, #graph.step<"cast", ["f16"]>]> : tensor<2x5x4xf16>
graph.conv %x, %f strides [2, 1] pads [1, 1, 0, 1] dilations [1, 2] groups 2 channels_first : \
(tensor<1x4x9x9xf32>, tensor<6x2x3x3xf32>) -> tensor<1x6x4x7xf32>
graph.conv %h, %g strides [1] pads [0, 0] dilations [1] channels_last : (tensor<2x5x3xf16>, tensor<4x2x3xf16>) -> tensor<2x4x4xf32>
graph.matmul %a, %b transpose_b : (tensor<2x3x4xf32>, tensor<5x4xf32>) -> tensor<2x3x5xf32>
graph.pool average %x kernel [2, 2] strides [2, 2] pads [0, 0, 1, 1] dilations [1, 1] ceil count_include_pad channels_first : \
tensor<1x4x9x9xf32> -> tensor<1x4x5x5xf32>
graph.unary gelu_tanh %a : tensor<2x3x4xf32> -> tensor<2x3x4xf32>
graph.binary max %b, %b : (tensor<5x4xf32>, tensor<5x4xf32>) -> tensor<5x4xf32>
graph.cast %h : tensor<2x5x3xf16> -> tensor<2x5x3xi32>
graph.broadcast %b dims [1, 3] : tensor<5x4xf32> -> tensor<2x5x3x4xf32>
graph.reshape %b : tensor<5x4xf32> -> tensor<2x10xf32>
graph.transpose %b [1, 0] : tensor<5x4xf32> -> tensor<4x5xf32>
""".strip().splitlines()
ARGUMENTS = (
    "%x: tensor<1x4x9x9xf32>, %f: tensor<6x2x3x3xf32>, %h: tensor<2x5x3xf16>, %g: tensor<4x2x3xf16>, "
    "%a: tensor<2x3x4xf32>, %b: tensor<5x4xf32>"
)


@pytest.mark.parametrize("op", EXAMPLES, ids=lambda op: op.split()[0])
def test_custom_syntax_is_printed_as_written(op: str) -> None:
    module = parse(body(f"%r = {op}", ARGUMENTS))
    module.verify()
    assert f"%r = {op}\n" in str(module)
    generic = module_text(module, generic=True)
    assert str(parse(generic)) == str(module)


FUSION = """
%y, %z = graph.fusion "f" (%p = %a : tensor<2x4xf32>) -> (tensor<2x4xf32>, tensor<2x4xf32>) config {block = 1 : i32} attributes {note} {
  %q = graph.unary relu %p : tensor<2x4xf32> -> tensor<2x4xf32> loc("r")
  graph.yield %q, %p : tensor<2x4xf32>, tensor<2x4xf32>
}"""


def test_fusion_round_trip() -> None:
    module = parse(body(FUSION, "%a: tensor<2x4xf32>"))
    module.verify()
    (fusion,) = (op for op in module.walk() if isinstance(op, graph.FusionOp))
    assert fusion.fusion_name.data == "f" and fusion.config is not None and "note" in fusion.attributes
    for generic in (False, True):
        text = module_text(module, generic=generic)
        assert module_text(parse(text), generic=generic) == text


def conv(attributes: str, result: str) -> str:
    return f"graph.conv %x, %f {attributes} channels_first : (tensor<1x4x9x9xf32>, tensor<6x2x3x3xf32>) -> {result}"


def max_pool(attributes: str, result: str) -> str:
    return f"graph.pool max %x {attributes} channels_first : tensor<1x4x9x9xf32> -> {result}"


INVALID = [
    (conv("strides [1, 1] pads [0, 0] dilations [1, 1] groups 2", "tensor<1x6x7x7xf32>"),
     "graph.conv: pads has 2 values for 2 spatial dimensions: give 4, all begins and then all ends"),
    (conv("strides [1, 0] pads [0, 0, 0, 0] dilations [1, 1] groups 2", "tensor<1x6x7x7xf32>"),
     "graph.conv: strides [1, 0] has a value below 1: use values of at least 1"),
    (conv("strides [1, 1] pads [0, 0, 0, 0] dilations [1, 1]", "tensor<1x6x7x7xf32>"),
     "graph.conv: the filter has 2 channels per group, the input has 4 in 1 groups: the filter needs 4"),
    (conv("strides [1, 1] pads [0, 0, 0, 0] dilations [1, 1] groups 4", "tensor<1x6x7x7xf32>"),
     "graph.conv: groups 4 must be at least 1 and divide 4 input and 6 output channels"),
    (conv("strides [1, 1] pads [0, 0, 0, 0] dilations [5, 1] groups 2", "tensor<1x6x7x7xf32>"),
     "graph.conv: a window of 11 (kernel 3, dilation 5) does not fit into 9 elements padded by 0 and 0: use a smaller kernel or more"),
    (conv("strides [1, 1] pads [0, 0, 0, 0] dilations [1, 1] groups 2", "tensor<1x6x8x7xf32>"),
     "graph.conv: the result has type tensor<1x6x8x7xf32>, the operands imply tensor<1x6x7x7xf32>"),
    ("graph.conv %h, %f strides [1] pads [0, 0] dilations [1] channels_last : (tensor<2x5x3xf16>, tensor<6x2x3x3xf32>) -> tensor<2xf16>",
     "graph.conv: input and filter have element types f16 and f32: cast one of them first"),
    ("graph.conv %a, %b strides [1] pads [0, 0] dilations [1] channels_last : (tensor<2x3x4xf32>, tensor<5x4xf32>) -> tensor<2xf32>",
     "graph.conv: input of rank 3 and filter of rank 2: both need the same rank, 3 or more"),
    ("graph.matmul %a, %b : (tensor<2x3x4xf32>, tensor<5x4xf32>) -> tensor<2x3x4xf32>",
     "graph.matmul: the left operand's last extent 4 differs from K = 5 of the right operand [K, N]: they must agree"),
    ("graph.matmul %b, %a : (tensor<5x4xf32>, tensor<2x3x4xf32>) -> tensor<2x3x4xf32>",
     "graph.matmul: ranks 2 and 3: the left operand needs rank 2 or more, the right one rank 2 or the same; reshape them first"),
    ("graph.matmul %a, %b transpose_b : (tensor<2x3x4xf32>, tensor<5x4xf32>) -> tensor<2x3x5xf16>",
     "graph.matmul: the result has type tensor<2x3x5xf16>, the operands imply tensor<2x3x5xf32> (or elements of f64)"),
    (max_pool("kernel [2, 2] strides [2, 2] pads [0, 0, 0, 0] dilations [1, 1] count_include_pad", "tensor<1x4x4x4xf32>"),
     "graph.pool: count_include_pad says what an average divides by: remove it from a max pool"),
    (max_pool("kernel [2, 2] strides [2, 2] pads [2, 0, 0, 0] dilations [1, 1]", "tensor<1x4x4x4xf32>"),
     "graph.pool: pads [2, 0, 0, 0] are as large as the window [2, 2]: a window would hold padding only; use smaller pads"),
    ("graph.pool average %i kernel [2] strides [2] pads [0, 0] dilations [1] channels_last : tensor<2x4x4xi32> -> tensor<2x2x4xi32>",
     "graph.pool: an average needs float elements, not i32: cast the input first"),
    ("graph.pool max %b kernel [2] strides [2] pads [0, 0] dilations [1] channels_last : tensor<5x4xf32> -> tensor<2x2xf32>",
     "graph.pool: input of rank 2: a pool needs rank 3 or more, batch and channels included"),
    ("graph.unary exp %i : tensor<2x4x4xi32> -> tensor<2x4x4xi32>",
     "graph.unary: exp needs float elements, not i32: cast the operand first"),
    ("graph.unary exp %b : tensor<5x4xf32> -> tensor<4x5xf32>",
     "graph.unary: the result has type tensor<4x5xf32>, the operands imply tensor<5x4xf32>"),
    ("graph.binary add %a, %b : (tensor<2x3x4xf32>, tensor<5x4xf32>) -> tensor<2x3x4xf32>",
     "graph.binary: the operands have types tensor<2x3x4xf32> and tensor<5x4xf32>: broadcast or cast one of them first"),
    ("graph.cast %b : tensor<5x4xf32> -> tensor<4x5xf16>",
     "graph.cast: the result has type tensor<4x5xf16>, the operands imply tensor<5x4xf16>"),
    ("graph.broadcast %b dims [1] : tensor<5x4xf32> -> tensor<2x5x4xf32>",
     "graph.broadcast: dims has 1 values for an operand of rank 2: give 2"),
    ("graph.broadcast %b dims [2, 1] : tensor<5x4xf32> -> tensor<2x5x4xf32>",
     "graph.broadcast: dims [2, 1] must increase and lie in [0, 3)"),
    ("graph.broadcast %b dims [0, 2] : tensor<5x4xf32> -> tensor<2x5x4xf32>",
     "graph.broadcast: operand dim 0 of extent 5 is mapped to result dim 0 of extent 2: they must be equal; reshape extents of 1 away"),
    ("graph.reshape %b : tensor<5x4xf32> -> tensor<3x7xf32>",
     "graph.reshape: [5, 4] has 20 elements, [3, 7] has 21: a reshape keeps their number"),
    ("graph.reshape %b : tensor<5x4xf32> -> tensor<20xf16>",
     "graph.reshape: operand and result have element types f32 and f16: cast one of them first"),
    ("graph.transpose %b [1, 1] : tensor<5x4xf32> -> tensor<4x4xf32>",
     "graph.transpose: permutation [1, 1] must hold each of 0 to 1 once"),
    ("graph.unary relu %d : tensor<?x4xf32> -> tensor<?x4xf32>",
     "graph.unary: the type tensor<?x4xf32> has 1 unknown extents and names 0: give shapes when importing, or name each in #graph.extents"),
    ("graph.unary relu %u : tensor<4xi5> -> tensor<4xi5>",
     "graph.unary: the operand has type tensor<4xi5>: elements must be one of f16, bf16, f32, f64, i1, i8"),
    ('graph.weight #graph.weight<"w", "' + HASH + '", tensor<4x6xf32>, []> : tensor<6x4xf32>',
     "graph.weight: the result has type tensor<6x4xf32>, the operands imply tensor<4x6xf32>"),
]  # fmt: skip


@pytest.mark.parametrize("op, message", INVALID, ids=[f"{n}-{op.split()[0]}" for n, (op, _) in enumerate(INVALID)])
def test_verifier_messages(op: str, message: str) -> None:
    arguments = f"{ARGUMENTS}, %i: tensor<2x4x4xi32>, %d: tensor<?x4xf32>, %u: tensor<4xi5>"
    with pytest.raises(VerifyException, match=re.escape(message)):
        parse(body(f"%r = {op}", arguments)).verify()


WEIGHTS = [
    ('"abc", tensor<4x6xf32>, []', '"w": the hash must be 64 hexadecimal digits, not "abc"'),
    (f'"{HASH}", tensor<?x6xf32>, []', '"w": the stored type tensor<?x6xf32> must be static'),
    (f'"{HASH}", tensor<4x6xf32>, [#graph.step<"turn", [1]>]', 'unknown recipe step "turn": known are transpose, reshape, slice, pad'),
    (f'"{HASH}", tensor<4x6xf32>, [#graph.step<"transpose", [0, 0]>]', "permutation [0, 0] must hold each of 0 to 1 once"),
    (f'"{HASH}", tensor<4x6xf32>, [#graph.step<"reshape", [5, 5]>]', "[4, 6] has 24 elements, [5, 5] has 25"),
    (f'"{HASH}", tensor<4x6xf32>, [#graph.step<"slice", [0, 2, 5]>]', "[2, 5) must lie in the extent 4 of axis 0"),
    (f'"{HASH}", tensor<4x6xf32>, [#graph.step<"slice", [2, 0, 1]>]', 'step "slice": axis 2 must lie in [0, 2)'),
    (f'"{HASH}", tensor<4x6xf32>, [#graph.step<"pad", [1, 5]>]', "5 is below the extent 6 of axis 1: pad to at least that"),
    (f'"{HASH}", tensor<4x6xf32>, [#graph.step<"pad", [1]>]', 'step "pad" takes 2 integers, not [1]'),
    (f'"{HASH}", tensor<4x6xf32>, [#graph.step<"cast", ["f17"]>]', 'step "cast": unknown element type \'f17\'; known are f16'),
    (f'"{HASH}", tensor<4x6xf32>, [#graph.step<"cast", [1]>]', 'step "cast" takes one element type, not [1]'),
    (f'"{HASH}", tensor<4x6xf32>, [#graph.step<"panels", [3]>]', "3 must divide the first extent of [4, 6]: pad it first"),
]  # fmt: skip


@pytest.mark.parametrize("parameters, message", WEIGHTS)
def test_weight_references_are_verified(parameters: str, message: str) -> None:
    op = f'%r = graph.weight #graph.weight<"w", {parameters}> : tensor<4x6xf32>'
    with pytest.raises(StepwellError, match=re.escape(message)):
        parse(body(op)).verify()


FUSIONS = [
    ("graph.yield %p : tensor<2x4xf32>", "tensor<4x2xf32>", "the body yields (tensor<2x4xf32>), the results are (tensor<4x2xf32>)"),
    ("%q = graph.unary relu %p : tensor<2x4xf32> -> tensor<2x4xf32>", "tensor<2x4xf32>", "graph.unary terminates block in single-block region but is not a terminator"),
    ("graph.yield", "", "it has no result and so computes nothing: remove it"),
]  # fmt: skip


@pytest.mark.parametrize("inside, results, message", FUSIONS)
def test_fusions_are_verified(inside: str, results: str, message: str) -> None:
    text = f'"%f" = graph.fusion "f" (%p = %a : tensor<2x4xf32>) -> ({results}) {{\n{inside}\n}}'
    text = text.replace('"%f" = ', "%f = " if results else "")
    with pytest.raises(VerifyException, match=re.escape(message)):
        parse(body(text, "%a: tensor<2x4xf32>")).verify()


def test_fusion_arguments_are_the_operands() -> None:
    module = parse(body(FUSION, "%a: tensor<2x4xf32>"))
    (fusion,) = (op for op in module.walk() if isinstance(op, graph.FusionOp))
    argument = fusion.body.block.args[0]
    object.__setattr__(argument, "_type", builtin.TensorType(builtin.f32, [4]))
    with pytest.raises(
        VerifyException, match=r"the body takes \(tensor<4xf32>\), the operands are \(tensor<2x4xf32>\)"
    ):
        fusion.verify_()


def test_constructors_refuse_what_verifiers_refuse() -> None:
    block = func.FuncOp("f", ([builtin.TensorType(builtin.f32, [2, 3])], [])).body.block
    with pytest.raises(VerifyException, match="graph.reshape: .* a reshape keeps their number"):
        graph.ReshapeOp(block.args[0], [7])
    with pytest.raises(VerifyException, match="graph.matmul: the left operand's last extent 3 differs from K = 2"):
        graph.MatmulOp(block.args[0], block.args[0])
