"""Small pieces: pipelines as values, levels, targets, files, signatures, shapes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from xdsl.dialects import arith
from xdsl.dialects.builtin import ModuleOp, i32

import stepwell
from stepwell.driver.driver import passes_of
from stepwell.driver.files import write_whole
from stepwell.driver.modules import parse_shape_options
from stepwell.driver.signature import signature_of
from stepwell.ir.source import SourceMap, parse_text
from stepwell.passes import location_of, names_of
from stepwell.passes.levels import ALLOWED, LEVELS, check_level, level_of, set_level
from stepwell.passes.remarks import Remark, RemarkCollector
from stepwell.passes.target import resolve, target_of, write_target
from stepwell.plugins.universe import make_context
from stepwell.runtime.errors import ModelError, UsageError
from stepwell.transforms import pipelines


@pytest.mark.parametrize(
    ("family", "precision"), [(family, p) for family in pipelines.FAMILIES for p in pipelines.PRECISIONS_OF[family]]
)
def test_every_pipeline_names_passes_that_exist(family: str, precision: str) -> None:
    whole = stepwell.pipeline(family, precision)
    assert [stage.level for stage in whole.stages] == list(LEVELS)
    assert [pass_.name for pass_ in passes_of(str(whole))] == [spec.partition("{")[0] for spec in whole.specs]


def test_pipelines_are_values() -> None:
    whole = stepwell.pipeline("x86-64-v3")
    assert "graph-fuse-epilogue" not in str(whole.drop("graph-fuse-epilogue"))
    assert "graph-fuse-epilogue" in str(whole)
    assert "cse,graph-fuse-epilogue" in str(whole.insert("cse", before="graph-fuse-epilogue"))
    assert "graph-fuse-epilogue,cse" in str(whole.insert("cse", after="graph-fuse-epilogue"))
    assert str(whole.between("tile", "plan")).startswith("stepwell-convert-tile-to-plan")
    assert [stage.level for stage in whole.between("graph", "graph").stages] == ["graph"]
    with pytest.raises(UsageError, match="no pass"):
        whole.drop("nonsense")
    with pytest.raises(UsageError, match="unknown pass"):
        whole.insert("nonsense", after="graph-fuse-epilogue")
    with pytest.raises(UsageError, match="needs one of"):
        whole.insert("cse")
    with pytest.raises(UsageError, match="cannot go up"):
        whole.between("tile", "graph")
    with pytest.raises(UsageError, match="unknown precision"):
        stepwell.pipeline("x86-64-v3", "fp7")


def test_levels_refuse_what_they_do_not_hold() -> None:
    op = arith.ConstantOp.from_int_and_width(1, i32)
    op.location = location_of(["a", "b"])
    module = ModuleOp([op])
    assert level_of(module) == "graph"
    with pytest.raises(ModelError, match=r"(?s)'arith.constant' \(a \+ b\)"):
        check_level(module, "graph")
    set_level(module, "tile")
    check_level(module, level_of(module))
    with pytest.raises(UsageError, match="unknown level"):
        set_level(module, "moon")
    assert set(ALLOWED) == set(LEVELS)


@pytest.mark.parametrize("name", ["sm_90a", "x86-64-v3", "x86-64-v4"])
def test_targets_survive_a_module(name: str) -> None:
    module = ModuleOp([])
    assert target_of(module) is None
    write_target(module, resolve("x86-64-v3"))
    write_target(module, resolve(name))
    assert target_of(module) == resolve(name)
    assert ("stepwell.cpu" in module.attributes) == (name != "sm_90a")


def test_files_are_written_whole(tmp_path: Path) -> None:
    path = tmp_path / "a"
    write_whole(path, "one")
    path.chmod(0o600)
    write_whole(path, b"two")
    assert path.read_bytes() == b"two" and [p.name for p in tmp_path.iterdir()] == ["a"]
    write_whole("/dev/null", "anything")
    with pytest.raises(UsageError, match="cannot write"):
        write_whole(tmp_path, "a folder")
    assert [p.name for p in tmp_path.iterdir()] == ["a"]


def test_shapes() -> None:
    assert parse_shape_options(["a:1x2", "b/c:0=3", "d=4x4"]) == {"a": (1, 2), "b/c:0": (3,), "d": (4, 4)}
    assert parse_shape_options([":1"]) == {"": (1,)}, "a tensor may have an empty name"
    for wrong in ("a", "a:1xx2", "a:-1", "a:q"):
        with pytest.raises(UsageError):
            parse_shape_options([wrong])


def test_signatures_check_inputs() -> None:
    text = 'func.func @main(%x: tensor<2x3xf16> {stepwell.name = "x"}, %n: tensor<2xi64>) -> tensor<2x3xf16> { func.return %x : tensor<2x3xf16> }'
    signature = signature_of(parse_text(make_context(), text, SourceMap("text")))
    assert [str(port) for port in signature.inputs] == ["x: 2x3xfloat16", "input1: 2xint64"]
    made = signature.random_inputs(3)
    signature.check(made)
    assert made["x"].tobytes() == signature.random_inputs(3)["x"].tobytes()
    with pytest.raises(UsageError, match="missing.*no input 'y'.*should be"):
        signature.check({"y": made["x"], "input1": np.zeros(3, np.int64)})


def test_locations_and_remarks() -> None:
    op = arith.ConstantOp.from_int_and_width(1, i32)
    assert names_of(op) == ()
    op.location = location_of(["a", "b", "a"])
    assert names_of(op) == ("a", "b")
    collector = RemarkCollector()
    for kind in ("passed", "missed", "passed"):
        collector.add(Remark(kind, "graph-x", ("a",), "done", "try"))
    assert len(collector) == 2 and len(collector.matching("graph", ("missed",))) == 1 and not collector.matching("^x")
    assert str(next(iter(collector))) == "remark: [passed] graph-x: a: done (hint: try)"
