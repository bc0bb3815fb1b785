"""The text of the ops without regions: printed as written, in both syntaxes; what is wrong with an op is said in words."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from xdsl.dialects.builtin import ModuleOp
from xdsl.utils.exceptions import VerifyException

from stepwell.ir.printing import module_text
from stepwell.ir.source import SourceMap, parse_text
from stepwell.plugins.universe import make_context
from stepwell.runtime.errors import StepwellError

ROWS = '#graph.extents<["rows" * 1 in [0, 9] counted]>'
ARGUMENTS = {
    "a": "tensor<2x3x4xf32>",
    "b": "tensor<5x4xf32>",
    "c": "tensor<2x3x4xi1>",
    "i": "tensor<2x4x4xi32>",
    "u": "tensor<4xui8>",
    "s": "tensor<f32>",
    "x": "tensor<1x4x9x9xf32>",
    "p": "tensor<4xf32>",
    "n": "tensor<3x1xi64>",
    "v": "tensor<3x4xf32>",
    "r": f"tensor<?x4xf32, {ROWS}>",
    "h": "tensor<2x3x4xf16>",
    "k": "tensor<2xi64>",
    "z": "tensor<2x8x1xf32>",
    "m": "tensor<5x3x3xf32>",
    "q": "tensor<4xi8>",
}


def parse(op: str, results: int = 1) -> ModuleOp:
    names = ", ".join(f"%r{i}" for i in range(results))
    arguments = ", ".join(f"%{name}: {type}" for name, type in ARGUMENTS.items())
    text = f"func.func @main({arguments}) {{\n{names} = {op}\nfunc.return\n}}"
    return parse_text(make_context(), text, SourceMap("test"))


def results_of(op: str) -> int:
    made = op.rpartition("->")[2].strip()
    return made.count("tensor<") if made.startswith("(") else 1


FILES = [Path(__file__).with_name(f"{name}.mlir") for name in ("roundtrip", "roundtrip_models")]


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
@pytest.mark.parametrize("generic", [False, True])
def test_custom_syntax_is_printed_as_written(file: Path, generic: bool) -> None:
    written = file.read_text(encoding="utf-8").partition("\n\n")[2]
    module = parse_text(make_context(), written, SourceMap("test"))
    module.verify()
    text = module_text(module, generic=generic)
    assert str(parse_text(make_context(), text, SourceMap("test"))).splitlines() == written.splitlines()


INVALID = [
    ("graph.constant [1, 2] : tensor<3xi64>", "2 numbers for 3 elements: give one for all, or one for each"),
    ("graph.constant [1, 300] : tensor<2xi8>", "[1, 300] are no values of i8"),
    (f"graph.constant [{', '.join(['1', '2'] * 33)}] : tensor<66xi8>", "66 numbers stand in the text, at most 64 may: put them into the weights"),
    ("graph.iota dim 2 : tensor<2x3xi64>", "graph.iota: dim 2 must lie in [0, 2)"),
    ("graph.iota dim 0 : tensor<2xi1>", "the result needs"),
    ("graph.unary not %a : tensor<2x3x4xf32> -> tensor<2x3x4xf32>", "not needs i1 or integer elements, not f32: cast the operand first"),
    ("graph.unary asin %u : tensor<4xui8> -> tensor<4xui8>", "asin needs float elements, not ui8: cast the operand first"),
    ("graph.binary and %a, %a : (tensor<2x3x4xf32>, tensor<2x3x4xf32>) -> tensor<2x3x4xf32>", "and needs i1 or integer elements, not f32"),
    ("graph.binary add %c, %c : (tensor<2x3x4xi1>, tensor<2x3x4xi1>) -> tensor<2x3x4xi1>", "add needs float or integer elements, not i1"),
    ("graph.compare lt %a, %b : (tensor<2x3x4xf32>, tensor<5x4xf32>) -> tensor<2x3x4xi1>", "the operands have types tensor<2x3x4xf32> and tensor<5x4xf32>"),
    ("graph.compare lt %a, %a : (tensor<2x3x4xf32>, tensor<2x3x4xf32>) -> tensor<2x3x4xf32>", "the operands imply tensor<2x3x4xi1>"),
    ("graph.select %c, %b, %b : (tensor<2x3x4xi1>, tensor<5x4xf32>, tensor<5x4xf32>) -> tensor<5x4xf32>", "the condition has shape [2, 3, 4]: it must be [5, 4]"),
    ("graph.cast %p rounding up : tensor<4xf32> -> tensor<4xf16>", "rounding is for f8E8M0FNU, a cast to f16 rounds to nearest even: remove it"),
    ("graph.bitcast %p : tensor<4xf32> -> tensor<4xf16>", "f32 has 32 bits and f16 16: they must be as wide"),
    ("graph.slice %b begins [0, 2] extents [5, 3] strides [1, 1] : tensor<5x4xf32> -> tensor<5x3xf32>", "dim 1: begin 2, extent 3, stride 1 reach 4, outside of the operand's 4"),
    ("graph.slice %b begins [0] extents [5] strides [1] : tensor<5x4xf32> -> tensor<5x4xf32>", "begins has 1 values: give 2"),
    (f"graph.slice %r begins [1, 0] extents [-1, 4] strides [1, 1] : tensor<?x4xf32, {ROWS}> -> tensor<?x4xf32, {ROWS}>", "take it whole (begin 0, extent -1, stride 1)"),
    ("graph.reverse %b dims [1, 0] : tensor<5x4xf32> -> tensor<5x4xf32>", "dims [1, 0] must increase and lie in [0, 2)"),
    ("graph.concat %b, %a dim 0 : (tensor<5x4xf32>, tensor<2x3x4xf32>) -> tensor<8x4xf32>", "operand 0 has shape [5, 4] and operand 1 [2, 3, 4]: they may differ in dim 0 only"),
    (f"graph.concat %b, %r dim 0 : (tensor<5x4xf32>, tensor<?x4xf32, {ROWS}>) -> tensor<8x4xf32>", "name the result's, as \"name\""),
    ("graph.pad %b, %p low [0, 1] high [2, 0] : (tensor<5x4xf32>, tensor<4xf32>) -> tensor<7x5xf32>", "the padding value has rank 1: it must have rank 0"),
    ("graph.pad %b, %s low [0, -1] high [2, 0] : (tensor<5x4xf32>, tensor<f32>) -> tensor<7x3xf32>", "low [0, -1] has a value below 0"),
    ("graph.gather %b, %n batch 0 dims [0, 1] : (tensor<5x4xf32>, tensor<3x1xi64>) -> tensor<3xf32>", "the last extent of the indices is 1: it must be 2"),
    ("graph.gather %b, %n batch 1 dims [1] : (tensor<5x4xf32>, tensor<3x1xi64>) -> tensor<3xf32>", "the batch extents [5] and [3] differ"),
    ("graph.gather %b, %p batch 0 dims [0] : (tensor<5x4xf32>, tensor<4xf32>) -> tensor<3xf32>", "the indices needs integer elements, not f32"),
    ("graph.scatter none %b, %n, %b batch 0 dims [0] : (tensor<5x4xf32>, tensor<3x1xi64>, tensor<5x4xf32>) -> tensor<5x4xf32>", "the updates has shape [5, 4]: it must be [3, 4]"),
    ("graph.reduce and %a dims [0] : tensor<2x3x4xf32> -> tensor<3x4xf32>", "the operand needs i1 or"),
    ("graph.reduce sum %a dims [3] : tensor<2x3x4xf32> -> tensor<3x4xf32>", "dims [3] must increase and lie in [0, 3)"),
    ("graph.arg_reduce max %a dim 1 : tensor<2x3x4xf32> -> tensor<2x4xi32>", "the operands imply tensor<2x4xi64>"),
    ("graph.cumulative sum %a dim 3 : tensor<2x3x4xf32> -> tensor<2x3x4xf32>", "dim 3 must lie in [0, 3)"),
    ("graph.top_k %a dim 1 k 4 : (tensor<2x3x4xf32>) -> (tensor<2x4x4xf32>, tensor<2x4x4xi64>)", "k 4 must lie in [0, 3], the extent of dim 1"),
    ("graph.softmax %i dims [1] : tensor<2x4x4xi32> -> tensor<2x4x4xi32>", "the operand needs float elements, not i32"),
    ("graph.normalize %h dims [2] epsilon 1.0 : (tensor<2x3x4xf16>) -> (tensor<2x3x4xf16>, tensor<2x3xf16>, tensor<2x3xf32>)", "result 1 has type tensor<2x3xf16>, the operands imply tensor<2x3xf32>"),
    ("graph.batch_norm %x, %p, %p, %p, %s dim 1 epsilon 1.0 : (tensor<1x4x9x9xf32>, tensor<4xf32>, tensor<4xf32>, tensor<4xf32>, tensor<f32>) -> tensor<1x4x9x9xf32>", "the variance has shape []: it must be [4]"),
    ("graph.lrn %x size 0 alpha 1.0 beta 1.0 k 1.0 channels_first : tensor<1x4x9x9xf32> -> tensor<1x4x9x9xf32>", "size 0 must be at least 1"),
    ("graph.quantize %b, %p, %q dims [0] block [1] : (tensor<5x4xf32>, tensor<4xf32>, tensor<4xi8>) -> tensor<5x4xi8>", "the scale has shape [4]: it must be [5]"),
    ("graph.quantize %b, %p, %q dims [1] block [1] saturate : (tensor<5x4xf32>, tensor<4xf32>, tensor<4xi8>) -> tensor<5x4xi8>", "saturate is for narrow floats, integers always do: remove it"),
    ("graph.dequantize %p, %p, %q dims [0] block [1] : (tensor<4xf32>, tensor<4xf32>, tensor<4xi8>) -> tensor<4xf16>", "the operand needs"),
    ("graph.random %n : (tensor<3x1xi64>) -> tensor<3x5xf32>", "the key has shape [3, 1]: it must be [2]"),
    ("graph.dft %b dim 0 length 8 : tensor<5x4xf32> -> tensor<8x2xf32>", "its last dim must be 1 (real) or 2 (complex)"),
    ("graph.determinant %b : tensor<5x4xf32> -> tensor<f32>", "its last two extents must be equal"),
    ("graph.matmul %a, %m : (tensor<2x3x4xf32>, tensor<5x3x3xf32>) -> tensor<2x3x3xf32>", "the left operand's last extent 4 differs from K = 3"),
    ("graph.pool sum %x kernel [2, 2] strides [2, 2] pads [0, 0, 0, 0] dilations [1, 1] count_include_pad channels_first : tensor<1x4x9x9xf32> -> tensor<1x4x4x4xf32>", "remove it from a sum pool"),
    ("graph.arg_pool %x kernel [2] strides [2] pads [0, 0] dilations [1] channels_first : (tensor<1x4x9x9xf32>) -> (tensor<1x4x4x4xf32>, tensor<1x4x4x4xi64>)", "kernel has 1 values for 2 spatial dimensions"),
]  # fmt: skip


@pytest.mark.parametrize("op, message", INVALID, ids=[f"{n}-{op.split()[0]}" for n, (op, _) in enumerate(INVALID)])
def test_verifier_messages(op: str, message: str) -> None:
    with pytest.raises((VerifyException, StepwellError), match=re.escape(message)):
        parse(op, results_of(op)).verify()
