"""Import a model and say what was done, tensor by tensor, what goes in and what comes out."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from stepwell.cli.model_arguments import MODELS, add_model_arguments

if TYPE_CHECKING:
    from stepwell.driver.signature import Signature
    from stepwell.frontends.events import ImportEvent


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `stepwell import`."""
    parser.add_argument("model", type=Path, help=MODELS)
    add_model_arguments(parser)
    parser.add_argument("--json", action="store_true", help="print a JSON object a line in place of text")
    parser.add_argument("--quiet", action="store_true", help="print inputs, outputs and the count of ops only")


def run(args: argparse.Namespace) -> int:
    """Import and print; nothing is printed of a model that is refused but the reasons."""
    from stepwell.cli.model_arguments import read
    from stepwell.driver.signature import signature_of
    from stepwell.frontends.events import ImportEvents

    events = ImportEvents("")
    loaded = read(args, events)
    records = [] if args.quiet else events.records
    count = sum(op.name.startswith("graph.") for op in loaded.module.walk())
    lines = _json if args.json else _text
    for line in lines(records, signature_of(loaded.module), count):
        print(line)
    return 0


def _text(records: list[ImportEvent], signature: Signature, count: int) -> Iterator[str]:
    yield from map(str, records)
    yield from (f"input  {port}" for port in signature.inputs)
    yield from (f"output {port}" for port in signature.outputs)
    yield f"{count} ops"


def _json(records: list[ImportEvent], signature: Signature, count: int) -> Iterator[str]:
    for record in records:
        yield json.dumps(record.as_dict())
    for what, ports in (("input", signature.inputs), ("output", signature.outputs)):
        for port in ports:
            yield json.dumps({"kind": f"signature-{what}", "name": port.name, "shape": list(map(str, port.shape)), "dtype": str(port.dtype)})  # fmt: skip
    yield json.dumps({"kind": "signature", "ops": count})
