"""Measure a plan on this machine: throughput, latency percentiles, kernels, memory."""

from __future__ import annotations

import argparse
import json
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `stepwell bench`."""
    parser.add_argument("plan", type=Path)
    parser.add_argument("--target", default="auto", help="auto, cpu, cuda, or the name of a section")
    parser.add_argument("--duration", type=float, default=3.0, metavar="SECONDS")
    parser.add_argument("--warmup", type=float, default=0.5, metavar="SECONDS")
    parser.add_argument("--threads", type=int, help="CPU threads (default: all)")
    parser.add_argument("--json", action="store_true", help="print the report as JSON")


def run(args: argparse.Namespace) -> int:
    """Load, measure, print."""
    from stepwell.api.bench import bench
    from stepwell.cli.arrays import existing
    from stepwell.runtime.engine import load

    with load(existing(args.plan), args.target, args.threads) as engine:
        report = bench(engine, duration=args.duration, warmup=args.warmup, threads=args.threads)
    print(json.dumps(report.as_dict(), indent=1) if args.json else report)
    return 0
