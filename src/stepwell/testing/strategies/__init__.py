"""Hypothesis strategies for what passes, planners and kernels work on. They construct: shapes run forward, attributes come from legal
ranges, so that nothing is filtered and examples shrink to small modules.

    from hypothesis import given
    from stepwell.testing import check_pass
    from stepwell.testing.strategies import graphs

    @given(graphs())
    def test_my_pass(case):
        check_pass("acme-relu-to-gelu", case.module, case.context())
"""

from stepwell.testing.strategies.graphs import GeneratedGraph, graphs
from stepwell.testing.strategies.layouts import composable_layouts, fragments, layouts, swizzles
from stepwell.testing.strategies.lifetimes import MemoryProblem, assert_keeps_values, lifetimes, memory_problems
from stepwell.testing.strategies.op_parameters import OpParameters, op_modules, op_parameters
from stepwell.testing.strategies.rows import row_networks
from stepwell.testing.strategies.tile_configs import tile_configs

__all__ = [
    "GeneratedGraph",
    "MemoryProblem",
    "OpParameters",
    "assert_keeps_values",
    "composable_layouts",
    "fragments",
    "graphs",
    "layouts",
    "lifetimes",
    "memory_problems",
    "op_modules",
    "op_parameters",
    "row_networks",
    "swizzles",
    "tile_configs",
]
