"""What can be watched while passes run: the IR after each change, a folder with every step, the time of each pass."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from xdsl.dialects.builtin import ModuleOp
from xdsl.passes import ModulePass

from stepwell.driver.driver import Observer
from stepwell.driver.files import refuse_overwriting, write_whole
from stepwell.ir.printing import module_text
from stepwell.passes.levels import dialect_counts, level_of
from stepwell.passes.remarks import RemarkCollector
from stepwell.runtime.errors import UsageError


@dataclass
class PrintAfterChange(Observer):
    """Prints the module after each pass that changed it, under MLIR's heading; of the others it prints the name only."""

    stream: IO[str] = field(default_factory=lambda: sys.stderr)
    locations: bool = False
    text: str = field(default="", init=False)

    def before(self, step: int, pass_: ModulePass, module: ModuleOp) -> None:
        if not step:
            self.text = module_text(module, locations=self.locations)

    def after(self, step: int, pass_: ModulePass, module: ModuleOp, seconds: float) -> None:
        text = module_text(module, locations=self.locations)
        changed, self.text = text != self.text, text
        if changed:
            print(f"// -----// IR Dump After {pass_.name} //----- //\n{text}", file=self.stream)
        else:
            print(f"// -----// IR Dump After {pass_.name} (no change) //----- //\n", file=self.stream)


@dataclass
class TreeWriter(Observer):
    """Writes the module after each pass to `folder/NN_pass.mlir`, and `index.json`: for every step its pass with options, level,
    ops of each dialect, bytes of text, seconds, whether the text changed, and the remarks that it left. A file that `kept` lists is refused."""

    folder: Path
    remarks: RemarkCollector
    kept: Callable[[], Iterable[str | Path]] = tuple
    text: str = field(default="", init=False)
    seen: int = field(default=0, init=False)
    index: list[dict[str, Any]] = field(default_factory=list, init=False)

    def before(self, step: int, pass_: ModulePass, module: ModuleOp) -> None:
        if not step:
            self.seen = len(self.remarks)
            self._record(module, "input", "00_input.mlir", 0.0)

    def after(self, step: int, pass_: ModulePass, module: ModuleOp, seconds: float) -> None:
        self._record(module, str(pass_), f"{step + 1:02}_{pass_.name}.mlir", seconds)

    def finish(self, module: ModuleOp) -> None:
        if not self.index:
            self._record(module, "input", "00_input.mlir", 0.0)
        self._write("index.json", json.dumps(self.index, indent=1) + "\n")

    def _record(self, module: ModuleOp, pass_: str, file: str, seconds: float) -> None:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UsageError(f"cannot make the folder: {error.strerror}", where=str(self.folder)) from None
        text = module_text(module)
        changed, self.text = text != self.text, text
        left = self.remarks.remarks[self.seen :]
        self.seen = len(self.remarks)
        self.index.append(
            {
                "step": len(self.index),
                "pass": pass_,
                "file": file,
                "level": level_of(module),
                "changed": changed,
                "seconds": round(seconds, 6),
                "bytes": len(text.encode()),
                "ops": dict(sorted(dialect_counts(module).items())),
                "remarks": [str(remark) for remark in left],
            }
        )
        self._write(file, text)

    def _write(self, file: str, text: str) -> None:
        refuse_overwriting([("--print-ir-tree-dir", self.folder / file)], self.kept())
        write_whole(self.folder / file, text)


@dataclass
class Timing(Observer):
    """Prints, at the end, the seconds and the share of each pass, the slowest first."""

    stream: IO[str] = field(default_factory=lambda: sys.stderr)
    rows: list[tuple[float, str]] = field(default_factory=list, init=False)

    def after(self, step: int, pass_: ModulePass, module: ModuleOp, seconds: float) -> None:
        self.rows.append((seconds, pass_.name))

    def finish(self, module: ModuleOp) -> None:
        total = sum(seconds for seconds, _ in self.rows)
        print(f"===- Pass execution timing report: {total:.4f} seconds -===", file=self.stream)
        for seconds, name in sorted(self.rows, reverse=True):
            print(f"  {seconds:8.4f} ({100 * seconds / (total or 1):5.1f}%)  {name}", file=self.stream)
