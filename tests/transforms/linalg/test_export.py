"""export_linalg: one function per fusion, upstream ops only, accepted by mlir-opt where it is installed."""

import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from xdsl.dialects.builtin import ModuleOp

from stepwell.driver.driver import passes_of
from stepwell.ir.source import SourceMap, parse_text
from stepwell.passes import PassFailure
from stepwell.plugins.universe import make_context
from stepwell.testing.strategies import GeneratedGraph, graphs
from stepwell.transforms.linalg._export import UPSTREAM, export_linalg
from stepwell.transforms.pipelines import GRAPH

CANDIDATES = ("mlir-opt", "mlir-opt-19", "/usr/lib/llvm-19/bin/mlir-opt")
MLIR_OPT = next((found for name in CANDIDATES if (found := shutil.which(name))), None)


def linalg_of(case: GeneratedGraph) -> ModuleOp:
    module = case.module.clone()
    for spec in [*GRAPH, "stepwell-convert-graph-to-linalg"]:
        for pass_ in passes_of(spec):
            pass_.apply(case.context(), module)
    return module


@given(graphs())
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_reads_back_with_upstream_ops_only(case: GeneratedGraph) -> None:
    text = export_linalg(linalg_of(case))
    read = parse_text(make_context(), text, SourceMap("export"))
    read.verify()
    assert {op.name.partition(".")[0] for op in read.walk()} <= set(UPSTREAM)


@pytest.mark.skipif(MLIR_OPT is None, reason="mlir-opt is not installed (apt-get install mlir-19-tools)")
@given(graphs())
@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_mlir_opt_accepts_it(case: GeneratedGraph) -> None:
    assert MLIR_OPT is not None
    done = subprocess.run([MLIR_OPT], input=export_linalg(linalg_of(case)), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(MLIR_OPT is None, reason="mlir-opt is not installed (apt-get install mlir-19-tools)")
def test_mlir_opt_accepts_the_digits_network(tmp_path: Path) -> None:
    assert MLIR_OPT is not None
    from stepwell.api.compile import import_model, lower

    digits = Path(__file__).resolve().parents[3] / "examples" / "digits" / "digits.onnx"
    module = lower(import_model(digits, shapes={"image": (4, 1, 8, 8)}), "linalg", target="sm_90a", precision="fp16")
    text = export_linalg(module)
    assert text.count("func.func") == sum(op.name == "graph.fusion" for op in module.walk())
    done = subprocess.run([MLIR_OPT], input=text, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_refuses_graph_ops() -> None:
    text = """
    func.func @main(%x: tensor<4xf32>) -> tensor<4xf32> {
      %y = graph.fusion "act" (%a = %x : tensor<4xf32>) -> (tensor<4xf32>) {
        %0 = graph.unary relu %a : tensor<4xf32> -> tensor<4xf32>
        graph.yield %0 : tensor<4xf32>
      }
      func.return %y : tensor<4xf32>
    }"""
    module = parse_text(make_context(), text, SourceMap("test"))
    with pytest.raises(PassFailure, match="act: graph.unary is not an upstream op"):
        export_linalg(module)
