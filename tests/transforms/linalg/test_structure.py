"""Roles, groups of loops and refusals: pure functions on fusions, GEMM, convolution, depthwise, pool and broadcast operands alike."""

import pytest
from xdsl.dialects.builtin import ModuleOp
from xdsl.dialects.linalg.ops import GenericOp

from stepwell.dialects import graph
from stepwell.driver.driver import passes_of
from stepwell.ir.source import SourceMap, parse_text
from stepwell.passes import PassFailure
from stepwell.plugins.universe import make_context
from stepwell.transforms.linalg._accesses import is_plain
from stepwell.transforms.linalg._roles import Roles, contraction_roles
from stepwell.transforms.linalg._stages import stages_of, structure_of
from stepwell.transforms.linalg._structure import Structure, merge_loops
from stepwell.transforms.linalg.families import wgmma
from stepwell.transforms.linalg.families.base import Setting


def linalg_module(arguments: dict[str, str], body: str, result: str) -> ModuleOp:
    """A module with one fusion "f" of graph ops on %a, %b, .. that yields %r, lowered to linalg."""
    signature = ", ".join(f"%x{i}: {type}" for i, type in enumerate(arguments.values()))
    bindings = ", ".join(f"%{name} = %x{i} : {type}" for i, (name, type) in enumerate(arguments.items()))
    text = f"""
    func.func @main({signature}) -> {result} {{
      %y = graph.fusion "f" ({bindings}) -> ({result}) {{
        {body}
        graph.yield %r : {result}
      }}
      func.return %y : {result}
    }}"""
    module = parse_text(make_context(), text, SourceMap("test"))
    (pass_,) = passes_of("stepwell-convert-graph-to-linalg")
    pass_.apply(make_context(), module)
    return module


def analysed(arguments: dict[str, str], body: str, result: str) -> Structure:
    module = linalg_module(arguments, body, result)
    return structure_of(next(op for op in module.walk() if isinstance(op, graph.FusionOp)))


def wgmma_refusals(structure: Structure) -> list[str]:
    """Why the tensor cores of sm_90a do not take it."""
    return list(wgmma.refusals(stages_of(structure.fusion), Setting("sm_90a")))


X, W, Y = "tensor<2x8x8x16xf32>", "tensor<24x3x3x16xf32>", "tensor<2x8x8x24xf32>"
CONV = f"strides [1, 1] pads [1, 1, 1, 1] dilations [1, 1] channels_last : ({X}, {W}) -> {Y}"


def test_convolution_is_an_implicit_gemm() -> None:
    found = analysed({"a": X, "b": W}, f"%r = graph.conv %a, %b {CONV}", Y)
    assert found.roles == Roles(m=(0, 1, 2), n=(3,), k=(6,), window=(4, 5))
    assert found.groups() == ((0, 1, 2), (3,)) and found.reduction_groups() == ((4, 5), (6,))
    assert found.extent((0, 1, 2)) == 128 and found.operands[0].window is not None
    assert found.operands[0].window.pads == (1, 1, 1, 1) and not found.operands[0].window.trivial


def test_matmul_rows_merge() -> None:
    a, b, y = "tensor<2x5x8xf32>", "tensor<8x3xf32>", "tensor<2x5x3xf32>"
    found = analysed({"a": a, "b": b}, f"%r = graph.matmul %a, %b : ({a}, {b}) -> {y}", y)
    assert found.roles == Roles(m=(0, 1), n=(2,), k=(3,))
    assert found.groups() == ((0, 1), (2,)) and found.reduction_groups() == ((3,),)


def test_a_transpose_is_rows_and_columns_of_a_batch() -> None:
    """Both ways: what no operand reads along the vectors is one dim with its neighbour."""
    first, last = "tensor<2x3x4x5xf32>", "tensor<2x4x5x3xf32>"
    there = analysed({"a": first}, f"%r = graph.transpose %a [0, 2, 3, 1] : {first} -> {last}", last)
    assert there.groups() == ((0,), (1, 2), (3,))
    back = analysed({"a": last}, f"%r = graph.transpose %a [0, 3, 1, 2] : {last} -> {first}", first)
    assert back.groups() == ((0,), (1,), (2, 3))


def test_depthwise_has_a_batch_loop() -> None:
    a, b, y = "tensor<1x4x4x6xf32>", "tensor<6x3x3x1xf32>", "tensor<1x2x2x6xf32>"
    conv = f"strides [1, 1] pads [0, 0, 0, 0] dilations [1, 1] groups 6 channels_last : ({a}, {b}) -> {y}"
    found = analysed({"a": a, "b": b}, f"%r = graph.conv %a, %b {conv}", y)
    assert found.roles == Roles(batch=(3,), m=(0, 1, 2), window=(4, 5))
    assert wgmma_refusals(found) == [
        "the contraction is grouped or depthwise, or has a vector for each index: matrix products have an m, an n and a k"
    ]


def test_pool_has_no_roles_but_groups() -> None:
    y = "tensor<2x4x4x16xf32>"
    body = f"%r = graph.pool max %a kernel [2, 2] strides [2, 2] pads [0, 0, 0, 0] dilations [1, 1] channels_last : {X} -> {y}"
    found = analysed({"a": X}, body, y)
    assert found.roles is None and len(found.operands) == 1
    assert found.groups() == ((0, 1, 2), (3,)) and found.reduction_groups() == ((4, 5),)


def test_an_operand_per_image_keeps_rows_apart() -> None:
    body = f"""%0 = graph.broadcast %s dims [0, 3] : tensor<2x16xf32> -> {X}
    %r = graph.binary mul %a, %0 : ({X}, {X}) -> {X}"""
    found = analysed({"a": X, "s": "tensor<2x16xf32>"}, body, X)
    assert found.root is None
    assert found.groups() == ((0,), (1, 2), (3,))
    assert [access.loops for access in found.leaves] == [(0, 1, 2, 3), (0, 3)]


def test_an_operand_per_image_stops_a_matrix_product() -> None:
    body = f"""%0 = graph.conv %a, %b {CONV}
    %1 = graph.broadcast %s dims [0, 3] : tensor<2x24xf32> -> {Y}
    %r = graph.binary mul %0, %1 : ({Y}, {Y}) -> {Y}"""
    found = analysed({"a": X, "b": W, "s": "tensor<2x24xf32>"}, body, Y)
    assert "an operand breaks up the rows, columns or reduction of the product" in wgmma_refusals(found)


def test_merge_loops() -> None:
    assert merge_loops((0, 1, 2), [(0, 1, 2)], keep_last=True) == ((0, 1), (2,))
    assert merge_loops((0, 1, 2), [(0, 1, 2)], keep_last=False) == ((0, 1, 2),)
    assert merge_loops((0, 1, 2), [(0, 1, 2), (1, 0, 2)], keep_last=False) == ((0,), (1,), (2,))
    assert merge_loops((), [()], keep_last=True) == ()


def test_no_role_for_a_sum_over_one_factor() -> None:
    text = """
    func.func @f(%a: tensor<4x8x2xf32>, %b: tensor<3x8xf32>, %o: tensor<4x3xf32>) -> tensor<4x3xf32> {
      %r = linalg.generic {indexing_maps = [affine_map<(m, n, k, l) -> (m, k, l)>, affine_map<(m, n, k, l) -> (n, k)>, affine_map<(m, n, k, l) -> (m, n)>], iterator_types = ["parallel", "parallel", "reduction", "reduction"]} ins(%a, %b : tensor<4x8x2xf32>, tensor<3x8xf32>) outs(%o : tensor<4x3xf32>) {
      ^bb0(%p: f32, %q: f32, %s: f32):
        linalg.yield %p : f32
      } -> tensor<4x3xf32>
      func.return %r : tensor<4x3xf32>
    }"""  # fmt: skip
    module = parse_text(make_context(), text, SourceMap("test"))
    assert contraction_roles(next(op for op in module.walk() if isinstance(op, GenericOp))) is None


GROUPED = "strides [1, 1] pads [1, 1, 1, 1] dilations [1, 1] groups 2 channels_last"


@pytest.mark.parametrize(
    ("arguments", "body", "result", "reason"),
    [
        (
            {"a": X, "b": "tensor<24x3x3x8xf32>"},
            f"%r = graph.conv %a, %b {GROUPED} : ({X}, tensor<24x3x3x8xf32>) -> {Y}",
            Y,
            "grouped convolution",
        ),
        (
            {"a": X, "b": W},
            f"%0 = graph.unary relu %a : {X} -> {X}\n %r = graph.conv %0, %b {CONV}",
            Y,
            "no lowering maps operands",
        ),
        (
            {"a": "tensor<1x5x5x2xf32>"},
            (
                "%r = graph.pool average %a kernel [3, 3] strides [1, 1] pads [1, 1, 1, 1] dilations [1, 1] channels_last "
                ": tensor<1x5x5x2xf32> -> tensor<1x5x5x2xf32>"
            ),
            "tensor<1x5x5x2xf32>",
            "the body needs the position of its element",
        ),
        (
            {"a": "tensor<1x2x5x5xf32>"},
            (
                "%r = graph.pool max %a kernel [3, 3] strides [1, 1] pads [1, 1, 1, 1] dilations [1, 1] channels_first "
                ": tensor<1x2x5x5xf32> -> tensor<1x2x5x5xf32>"
            ),
            "tensor<1x2x5x5xf32>",
            "hint: run graph-assign-layout",
        ),
    ],
)
def test_refusals(arguments: dict[str, str], body: str, result: str, reason: str) -> None:
    with pytest.raises(PassFailure, match=reason):
        analysed(arguments, body, result)


def test_an_operand_that_is_repeated_first_is_read_where_it_lies() -> None:
    b, y = "tensor<3x8xf32>", "tensor<4x3xf32>"
    body = f"""%0 = graph.broadcast %a dims [1] : tensor<8xf32> -> tensor<4x8xf32>
    %r = graph.matmul %0, %b transpose_b : (tensor<4x8xf32>, {b}) -> {y}"""
    found = analysed({"a": "tensor<8xf32>", "b": b}, body, y)
    assert found.operands[0].loops == (2,)
    assert wgmma_refusals(found) == ["the left factor is not [rows, k] in memory"]


def _convolved(input: str, filter: str, result: str, window: str) -> Structure:
    conv = f"%r = graph.conv %a, %b {window} channels_last : ({input}, {filter}) -> {result}"
    return analysed({"a": input, "b": filter}, conv, result)


def test_only_a_single_tap_at_every_pixel_is_a_plain_matrix() -> None:
    """A window without padding still has its taps."""
    window = "strides [1, 1] pads [0, 0, 0, 0] dilations [1, 1]"
    one = _convolved("tensor<2x8x8x16xf16>", "tensor<24x1x1x16xf16>", "tensor<2x8x8x24xf16>", window)
    row = _convolved("tensor<2x1x8x16xf16>", "tensor<24x1x3x16xf16>", "tensor<2x1x6x24xf16>", window)
    nine = _convolved("tensor<2x8x8x16xf16>", "tensor<24x3x3x16xf16>", "tensor<2x6x6x24xf16>", window)
    assert [is_plain(one), is_plain(row), is_plain(nine)] == [True, False, False]


@pytest.mark.parametrize(("dilation", "refused"), [(64, False), (65, True)])
def test_corners_of_an_im2col_load(dilation: int, refused: bool) -> None:
    """A reach of 128 without padding is the corner -128, the last that the map can say; 130 is beyond."""
    extent = 2 * dilation + 1
    window = f"strides [1, 1] pads [0, 0, 0, 0] dilations [{dilation}, 1]"
    found = _convolved(f"tensor<1x{extent}x8x16xf16>", "tensor<24x3x1x16xf16>", "tensor<1x1x8x24xf16>", window)
    assert any("beyond those of an im2col load" in reason for reason in wgmma_refusals(found)) == refused


@pytest.mark.parametrize(("stride", "refused"), [(8, False), (9, True)])
def test_strides_of_an_im2col_load(stride: int, refused: bool) -> None:
    window = f"strides [{stride}, 1] pads [0, 0, 0, 0] dilations [1, 1]"
    found = _convolved(
        "tensor<1x28x8x16xf16>", f"tensor<24x{28 - 2 * stride}x1x16xf16>", "tensor<1x3x8x24xf16>", window
    )
    assert any(f"a window of stride {stride}" in reason for reason in wgmma_refusals(found)) == refused


def test_a_corner_one_beyond() -> None:
    window = "strides [1, 1] pads [0, 0, 0, 0] dilations [129, 1]"
    found = _convolved("tensor<1x130x8x16xf16>", "tensor<24x2x1x16xf16>", "tensor<1x1x8x24xf16>", window)
    assert any("filter offsets of 129" in reason for reason in wgmma_refusals(found))


@pytest.mark.parametrize(("channels", "refused"), [(8, False), (4, True), (12, True)])
def test_rows_of_a_tensor_map_are_whole_16_bytes(channels: int, refused: bool) -> None:
    window = "strides [1, 1] pads [1, 1, 1, 1] dilations [1, 1]"
    found = _convolved(
        f"tensor<2x8x8x{channels}xf16>", f"tensor<24x3x3x{channels}xf16>", "tensor<2x8x8x24xf16>", window
    )
    reasons = wgmma_refusals(found)
    assert any(f"channel rows of {2 * channels} bytes" in reason for reason in reasons) == refused
