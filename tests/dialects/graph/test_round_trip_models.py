"""What the verifiers of sequence models, interpolation, counted extents, control flow and extensions say."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from xdsl.utils.exceptions import VerifyException

from stepwell.ir.source import SourceMap, parse_text
from stepwell.plugins.universe import make_context
from stepwell.runtime.errors import StepwellError

WRITTEN = (Path(__file__).with_name("roundtrip_models.mlir")).read_text(encoding="utf-8")
"""A module that holds each op; a case replaces a piece of it."""

INVALID = [
    ("extents [12, 11] channels_first", "extents [9, 11] channels_first", "extent 9 of spatial dim 0 is below 11, what the pads leave: raise the pads"),
    ("dilations [1, 1] groups 2 extents", "dilations [1, 1] groups 3 extents", "4 input channels in 3 groups and a filter for 4"),
    ("extents [12, 9] scales [2.000000e+00, 1.500000e+00]", "extents [12, 9] scales [2.0, -1.5]", "scales are positive"),
    ("extents [12, 9] scales [2.000000e+00, 1.500000e+00]", "extents [12, 9] scales [2.0]", "scales has 1 values: give 2"),
    ("graph.sample cubic reflect %x, %grid align_corners : (tensor<1x4x6x6xf32>, tensor<1x3x5x2xf32>)", "graph.sample cubic reflect %x, %x : (tensor<1x4x6x6xf32>, tensor<1x4x6x6xf32>)", "the operand is [N,C,*] with d spatial dims, the grid [N,*,d] with as many"),
    ("samples 2 offset", "samples -1 offset", "samples are 0 or more"),
    ("activations [#graph<activation tanh>] alphas", "activations [] alphas", "activations has 0 values: give 1"),
    ("clip 3.000000e+00", "clip -3.0", "clip -3.0 must be positive, or 0 for none"),
    ("(tensor<3x2x4xf32>, tensor<4x4xf32>, tensor<4xf32>, tensor<2x4xf32>) -> (tensor<3x2x4xf32>, tensor<2x4xf32>)", "(tensor<3x2x4xf32>, tensor<4x4xf32>, tensor<4xf32>, tensor<2x4xf32>) -> (tensor<3x2x5xf32>, tensor<2x4xf32>)", "result 0 has type tensor<3x2x5xf32>, the operands imply tensor<3x2x4xf32>"),
    ("scale 2.500000e-01 softcap 5.000000e+00", "scale 2.500000e-01 softcap -5.0", "softcap -5.0 and window 3 must not be negative"),
    ("bias %mask : tensor<2x4x3x5xi1>", "bias %c : tensor<i1>", "the bias has rank 0: it must have rank 4"),
    ("graph.linear_attention linear %kq", "graph.linear_attention gated %kq", "rule gated takes a decay and no beta"),
    ("graph.extent %rows dim 0", "graph.extent %rows dim 2", "dim 2 must lie in [0, 2)"),
    ('graph.fill_tail %rows, %s dim 0', 'graph.fill_tail %rows, %s dim 1', "dim 1 has the known extent 4: there is no tail to fill"),
    ('graph.compact %t, %m dim 0', 'graph.compact %t, %m dim 1', "the mask has shape [9]: it must be [4]"),
    ('graph.prefix %t, %n dim 0 as "n"', 'graph.prefix %t, %n dim 0 as "m"', 'the operands imply tensor<?x4xf32, #graph.extents<["m" * 1 in [0, 9] counted]>>'),
    ("most 10 iou 5.000000e-01", "most -1 iou 5.000000e-01", "most -1 must not be negative"),
    ("graph.collective all_reduce %t combine sum dim 0 group [0, 1]", "graph.collective all_reduce %t dim 0 group [0, 1]", "all_reduce needs combine"),
    ("graph.collective all_gather %t dim 0 group [0, 1]", "graph.collective all_gather %t dim 0 group [0, 0]", "group [0, 0] must list each rank once, at least one"),
    ("graph.if %c -> (tensor<9x4xf32>)", "graph.if %c -> (tensor<9x4xf64>)", "the first branch yields (tensor<9x4xf32>), but (tensor<9x4xf64>) is needed: they must be the same"),
    ("bound 8 -> (tensor<9x4xf32>, tensor<8x4xf32>)", "-> (tensor<9x4xf32>, tensor<8x4xf32>)", "it would never end: give a bound, a trip count or a condition"),
    ("bound 8 -> (tensor<9x4xf32>, tensor<8x4xf32>)", "bound 7 -> (tensor<9x4xf32>, tensor<8x4xf32>)", "the results are (tensor<9x4xf32>, tensor<8x4xf32>), but (tensor<9x4xf32>, tensor<7x4xf32>) is needed"),
    ("(%46, %47 = %t : tensor<9x4xf32>)", "(%46 = %n : tensor<i64>, %47 = %t : tensor<9x4xf32>)", "a loop takes its iteration first, alone, then each carried value"),
    ("(%46, %47 = %t : tensor<9x4xf32>)", "()", "a loop takes its iteration first, alone, then each carried value"),
    ('bound 8 as "steps"', "bound 8", 'name the stacked extent, as "steps"'),
    ('trip %n while %c bound 8 as "steps"', 'trip %n bound 8 as "steps"', "the body yields first (tensor<i1>), but (tensor<9x4xf32>) is needed"),
    ('["rows" * 1 in [0, 9] counted]', '["rows" * 0 in [0, 9] counted]', 'symbol "rows": a factor is 1 or more'),
    ('["rows" * 1 in [0, 9] counted]', "[]", "has 1 unknown extents and names 0: give shapes when importing"),
]  # fmt: skip


@pytest.mark.parametrize(
    "there, instead, message", INVALID, ids=[f"{n}-{new.split()[0]}" for n, (_, new, _) in enumerate(INVALID)]
)
def test_verifier_messages(there: str, instead: str, message: str) -> None:
    assert there in WRITTEN
    with pytest.raises((VerifyException, StepwellError), match=re.escape(message)):
        parse_text(make_context(), WRITTEN.replace(there, instead), SourceMap("test")).verify()
