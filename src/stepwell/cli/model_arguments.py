"""The words with which every command takes a model: `--weights`, `--outputs`, `--shape`, `--plugin`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from stepwell.driver.modules import LoadedModule
    from stepwell.frontends.events import ImportEvents

MODELS = ".onnx, .prototxt, .pb, .pbtxt, a SavedModel's folder, or .mlir with its .safetensors"


def add_model_arguments(parser: argparse.ArgumentParser | argparse._ArgumentGroup) -> None:
    """The options that say how a model is read."""
    parser.add_argument("--shape", action="append", default=[], metavar="NAME:1x2x3", help="shape of a network input")
    parser.add_argument("--outputs", metavar="NAME,..", help="tensors to compute, in place of the model's outputs")
    parser.add_argument("--weights", metavar="FILE|random:SEED", help="weights, where the model does not hold them")
    parser.add_argument("--plugin", action="append", default=[], metavar="MODULE|FILE.py", help="import a plugin")


def read(args: argparse.Namespace, events: ImportEvents | None = None) -> LoadedModule:
    """The module of `args.model` (where a command takes plans too: `args.plan`), read as the options say."""
    from stepwell.driver.modules import parse_shape_options, read_model
    from stepwell.frontends.doors import Request
    from stepwell.plugins.sources import load_plugins

    load_plugins(args.plugin)
    outputs = args.outputs.split(",") if args.outputs else None
    request = Request(args.weights, outputs, parse_shape_options(args.shape) or None, events)
    named: Path = args.model if hasattr(args, "model") else args.plan
    return read_model(model_path(named), request)


def model_path(path: Path) -> Path:
    """`path`, or the model in a SavedModel's folder; a UsageError when there is none."""
    from stepwell.cli.arrays import existing
    from stepwell.frontends.doors import model_file

    found = model_file(path)
    return existing(found)
