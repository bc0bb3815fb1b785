"""The pass that the README shows works as it says."""

from __future__ import annotations

import re
import sys
import types
from pathlib import Path
from typing import Any

from stepwell.driver import Driver
from stepwell.printing import module_text
from stepwell.source import SourceMap, parse_text
from stepwell.testing.check_pass import check_pass
from stepwell.universe import make_context

README = Path(__file__).resolve().parents[2] / "README.md"
NETWORK = """
func.func @main(%x: tensor<2x4xf32>) -> tensor<2x4xf32> {
  %y = graph.unary relu %x : tensor<2x4xf32> -> tensor<2x4xf32> loc("act")
  %z = graph.unary neg %y : tensor<2x4xf32> -> tensor<2x4xf32> loc("minus")
  func.return %z : tensor<2x4xf32>
}
"""


def readme_pass() -> Any:
    text = README.read_text()
    code = next(block for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL) if "@rewrite" in block)
    module = types.ModuleType("readme_pass")
    sys.modules[module.__name__] = module
    exec(compile(code, str(README), "exec"), module.__dict__)  # noqa: S102
    return module.__dict__["PASS"]()


def test_the_pass_of_the_readme() -> None:
    ctx = make_context()
    module = parse_text(ctx, NETWORK, SourceMap("network"))
    pass_ = readme_pass()
    (report,) = check_pass(pass_, module, ctx)
    assert report.changed and {remark.kind for remark in report.remarks} == {"passed", "missed"}
    assert {"verifies", "deterministic", "round trip", "source names", "idempotent"} <= set(report.properties)
    Driver(ctx).run(module, [pass_])
    assert 'graph.unary gelu %x : tensor<2x4xf32> -> tensor<2x4xf32> loc("act")' in module_text(module)
