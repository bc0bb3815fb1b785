"""The tool: xDSL's driver with its hooks overridden."""

from __future__ import annotations

import argparse
import inspect
import sys
from collections.abc import Callable, Sequence
from io import BytesIO
from pathlib import Path
from typing import IO, cast

from xdsl.dialects.builtin import ModuleOp
from xdsl.utils.arg_spec import parse_spec
from xdsl.utils.exceptions import ArgSpecParseError
from xdsl.utils.target import Target
from xdsl.xdsl_opt_main import xDSLOptMain

from stepwell.driver.candidates import answers, listing
from stepwell.driver.driver import Driver, Observer, is_fault, passes_of
from stepwell.driver.files import refuse_overwriting, write_whole
from stepwell.driver.lowering import lower_in_place
from stepwell.driver.modules import (
    FORMATS,
    attach_weights,
    decode,
    parse_shape_options,
    plan_module_text,
    read_model,
    read_onnx,
)
from stepwell.driver.observers import PrintAfterChange, Timing, TreeWriter
from stepwell.driver.pipeline import pipeline
from stepwell.frontends.doors import DOORS, Request, model_file
from stepwell.ir.source import SourceMap, parse_text, verify_text
from stepwell.opt.arguments import add_arguments
from stepwell.opt.diagnostics import Diagnostic, diagnostics_of, expectations, mismatches, named_diagnostic
from stepwell.opt.listing import help_pass, list_passes
from stepwell.opt.remark_output import format_remarks
from stepwell.opt.weight_files import keep_weights_found, save_weights, unsaved_weights
from stepwell.passes import StepwellContext
from stepwell.passes.levels import check_level, level_of, set_level
from stepwell.passes.remarks import Remark, check_pattern
from stepwell.passes.target import choose_target, target_of
from stepwell.plugins.sources import load_plugins
from stepwell.plugins.universe import installed_universe, make_context
from stepwell.runtime.errors import ComparisonError, InternalError, ModelError, StepwellError, UsageError

MLIR_SPELLINGS = ("-split-input-file", "-verify-diagnostics", "-allow-unregistered-dialect")
"""mlir-opt takes one dash or two."""


class StepwellOpt(xDSLOptMain):
    """`stepwell-opt`. `run` returns the exit code; everything a user can mend is raised as a StepwellError."""

    version_format = "stepwell-opt built on xdsl {xdsl_version}"
    ctx: StepwellContext

    def __init__(self, args: Sequence[str]) -> None:
        words = [f"-{word}" if word in MLIR_SPELLINGS else word for word in args]
        self.source = SourceMap("stdin")
        try:
            super().__init__("Stepwell's optimizer driver: reads .onnx, .mlir and .plan, runs passes, prints", words)
        except ArgSpecParseError as error:
            raise UsageError(str(error), where="-t") from None

    # --- hooks of xDSL

    def register_all_dialects(self) -> None:
        self.ctx = make_context()

    def register_all_passes(self) -> None:
        self.available_passes.update(installed_universe().all_passes)

    def register_all_targets(self) -> None:
        self.available_targets.update(installed_universe().all_targets)

    def register_all_frontends(self) -> None:
        imported = {ending.removeprefix("."): self.read_imported for ending in DOORS}
        self.available_frontends.update(mlir=self.read_mlir, plan=self.read_plan, **imported)

    def register_all_arguments(self, arg_parser: argparse.ArgumentParser) -> None:
        super().register_all_arguments(arg_parser)
        add_arguments(arg_parser)

    def output_resulting_program(self, prog: ModuleOp) -> str:
        """The text that `-t` makes. xDSL's own targets say what they cannot print by exceptions of every kind, and so does LLVM of a module that
        came here at the last level; other failures of ours are faults."""
        name = self.target_name
        ours = ("mlir", *(target for target in self.available_targets if target.startswith("stepwell-")))
        if name in ours and not (self.read_level == "llvm" and name != "mlir"):
            with self.driver.stage(f"-t {name}", prog, f"-t {name}"):
                return super().output_resulting_program(prog)
        try:
            return super().output_resulting_program(prog)
        except Exception as error:
            if self.args.debug or isinstance(error, MemoryError) or not is_fault(error):
                raise
            reason = str(error) or type(error).__name__
            raise ModelError(f"this module cannot be printed so: {reason}", where=f"-t {name}") from error

    def setup_pipeline(self) -> None:
        if self.args.parsing_diagnostics or self.args.shrink:
            raise UsageError("--parsing-diagnostics and --shrink are xdsl-opt's", hint="use --verify-diagnostics")
        load_plugins(self.args.plugin)
        self.passes = passes_of(self.args.passes)
        self.shapes = parse_shape_options(self.args.shape)
        self.target_name = self.check_target()
        check_pattern(self.args.remarks_filter or "", "--remarks-filter")
        if self.args.input_file == "-":
            self.args.input_file = None
        if self.args.input_file:
            self.args.input_file = str(model_file(Path(self.args.input_file)))
        refuse_overwriting(self.output_files(), self.input_files())

    def check_target(self) -> str:
        """The name in `-t`; a UsageError where the target has no such options."""
        try:
            spec = parse_spec(self.args.target)
        except ArgSpecParseError as error:
            raise UsageError(str(error), where="-t") from None
        factory = cast(Callable[..., type[Target]], self.available_targets[spec.name])
        try:
            if not inspect.signature(factory).parameters:
                factory().from_spec(spec)
        except (ArgSpecParseError, ValueError, TypeError) as error:
            raise UsageError(str(error), where=f"-t {spec.name}") from None
        return spec.name

    def kept_files(self) -> list[str | Path]:
        """What `--print-ir-tree-dir` must not overwrite: inputs, and the other outputs."""
        return [*self.input_files(), *(file for _, file in self.output_files() if file)]

    def input_files(self) -> list[str | Path]:
        """The files that are read: what was named, and from where the weights came."""
        named = [file for file in (self.args.input_file, self.args.weights) if file]
        return [*named, *(self.ctx.weights.files if self.ctx.weights else ())]

    def output_files(self) -> list[tuple[str, str | None]]:
        """The files that are written at the end, with the options that name them."""
        args = self.args
        output = None if args.output_file == "-" else args.output_file
        return [
            ("-o", output),
            ("--weights-out", args.weights_out),
            ("--remarks-output-file", args.remarks_output_file),
        ]

    def get_input_stream(self) -> tuple[IO[bytes], str]:
        try:
            stream, ending = super().get_input_stream()
        except OSError as error:
            raise UsageError(f"cannot read: {error.strerror}", where=self.args.input_file) from None
        if not self.args.frontend and ending not in self.available_frontends:
            stream.close()
            hint = f"known: {', '.join(FORMATS)}; or say -f mlir"
            raise UsageError(f"unknown kind of file '.{ending}'", where=self.args.input_file, hint=hint)
        return stream, ending

    def apply_passes(self, prog: ModuleOp) -> None:
        """Bring the module from its level through `-p` and on to `--to`."""
        if self.args.from_level:
            set_level(prog, self.args.from_level)
        if self.args.arch:
            choose_target(prog, self.args.arch)
        if self.args.level:
            check_level(prog, self.args.level)
        self.driver.run(prog, self.passes)
        if self.args.to_level:
            self.lower(prog)
        self.driver.finish(prog)

    # --- reading

    def read_mlir(self, stream: IO[bytes]) -> ModuleOp:
        """Parse and verify a chunk of text, and open the weights that it names."""
        text = decode(stream.read(), self.source.name)
        module = parse_text(self.ctx, text, self.source, implicit_module=not self.args.no_implicit_module)
        if not self.args.disable_verify:
            verify_text(module, self.source)
        attach_weights(self.ctx, module, self.folder, self.args.weights)
        return module

    def read_imported(self, stream: IO[bytes]) -> ModuleOp:
        """Import a model; from its path where it has one, because weights may lie beside it. From standard input only ONNX comes."""
        outputs = self.args.outputs.split(",") if self.args.outputs else None
        request = Request(self.args.weights, outputs, self.shapes)
        path = self.args.input_file
        loaded = read_model(path, request) if path else read_onnx(stream.read(), request)
        self.ctx.weights = loaded.ctx.weights
        return loaded.module

    def read_plan(self, stream: IO[bytes]) -> ModuleOp:
        """The kernel-level module of a plan: of the section that --arch names, else of its first."""
        if not self.args.input_file:
            raise UsageError("a plan is read from a file, not from standard input")
        text, self.source.name = plan_module_text(Path(self.args.input_file), self.args.arch)
        module = parse_text(self.ctx, text, self.source)
        verify_text(module, self.source)
        return module

    @property
    def folder(self) -> Path:
        """Where relative names in the input start."""
        return Path(self.args.input_file).parent if self.args.input_file else Path()

    # --- running

    def run(self) -> int:
        """Answer a question, or read, transform and print every chunk; output appears only when all went well."""
        answer = self.answer()
        if answer is not None:
            sys.stdout.write(answer)
            return 0
        chunks, ending = self.prepare_input()
        printed, reasons = [], []
        for chunk, offset in chunks:
            self.source = SourceMap(self.get_input_name(), offset)
            self.ctx.remarks.begin_module()
            self.driver = self.make_driver()
            if self.args.verify_diagnostics:
                reasons += self.verify_chunk(chunk, ending, offset)
            else:
                printed.append(self.run_chunk(chunk, ending))
        if reasons:
            raise ComparisonError(
                "diagnostics are not as expected", where=self.get_input_name(), hint="\n  ".join(reasons)
            )
        self.write_remarks()
        if not self.args.verify_diagnostics:
            self.write_output("// -----\n".join(printed))
        return 0

    def answer(self) -> str | None:
        """The text that answers a question option, if there is one."""
        if self.args.list_passes:
            return list_passes(self.available_passes)
        if self.args.help_pass:
            return help_pass(self.args.help_pass)
        if self.args.print_pipeline:
            return self.pipeline_text() + "\n"
        return None

    def pipeline_text(self) -> str:
        """`-p` and what `--from`, `--to` and `--arch` add to it, as one `-p` string."""
        specs = [str(pass_) for pass_ in self.passes]
        if self.args.to_level or self.args.arch:
            whole = pipeline(self.args.arch or "cpu", self.args.precision)
            specs += whole.between(self.args.from_level or "graph", self.args.to_level or "llvm").specs
        return ",".join(specs)

    def make_driver(self) -> Driver:
        """The driver with the observers that the options ask for."""
        observers: list[Observer] = []
        if self.args.check_semantics:
            from stepwell.driver.semantics import SemanticsCheck

            observers.append(SemanticsCheck(self.ctx))
        if self.args.print_ir_after_change or self.args.print_between_passes:
            observers.append(PrintAfterChange(locations=self.args.print_debuginfo))
        if self.args.print_ir_tree_dir:
            observers.append(TreeWriter(Path(self.args.print_ir_tree_dir), self.ctx.remarks, self.kept_files))
        if self.args.time_passes:
            observers.append(Timing())
        return Driver(
            self.ctx,
            observers,
            verify=not self.args.disable_verify,
            raw=self.args.debug,
            command=f"--weights {self.args.weights}" if self.args.weights else "",
            folder=self.args.reproducer_dir,
        )

    def lower(self, module: ModuleOp) -> None:
        """Run the stages from the module's level to `--to`, checking the level after each."""
        target = target_of(module)
        if target is None and self.args.to_level != "graph":
            raise UsageError(f"--to {self.args.to_level} needs a target", hint="say --arch sm_90a or --arch cpu")
        steps = pipeline(target.family if target else "cpu", self.args.precision)
        lower_in_place(module, self.args.to_level, steps, self.driver)

    def run_chunk(self, chunk: IO[bytes], ending: str) -> str:
        """The text that one chunk becomes."""
        try:
            module = self.available_frontends[ending](chunk)
            self.read_level = level_of(module)
            refuse_overwriting(self.output_files(), self.input_files())
            self.apply_passes(module)
            if self.args.print_candidates:
                return listing(answers(module, self.args.precision))
            self.write_weights(module)
            return self.output_resulting_program(module)
        finally:
            chunk.close()

    def verify_chunk(self, chunk: IO[bytes], ending: str, offset: int) -> list[str]:
        """How the diagnostics of one chunk differ from those that its comments expect."""
        data = chunk.read()
        before = len(self.ctx.remarks)
        found: list[Diagnostic] = []
        try:
            self.run_chunk(BytesIO(data), ending)
        except InternalError:
            raise
        except StepwellError as error:
            found += diagnostics_of(error, self.source)
        remarks = self.ctx.remarks.remarks[before:]
        found += [named_diagnostic("remark", remark.names, str(remark), self.source) for remark in remarks]
        return mismatches(expectations(decode(data, self.source.name)), found, offset)

    # --- writing

    def write_output(self, text: str) -> None:
        """Print the result, or write it whole to `-o`."""
        if self.args.output_file in (None, "-"):
            sys.stdout.write(text)
        else:
            write_whole(self.args.output_file, text)

    def write_remarks(self) -> None:
        """Print the remarks that `--remarks-filter` chooses, or write them to a file."""
        if self.args.remarks_filter is None and not self.args.remarks_output_file:
            return
        chosen: list[Remark] = self.ctx.remarks.matching(self.args.remarks_filter or ".*")
        text = format_remarks(chosen, self.args.remark_format)
        if self.args.remarks_output_file:
            write_whole(self.args.remarks_output_file, text)
        else:
            sys.stderr.write(text)

    def write_weights(self, module: ModuleOp) -> None:
        """Write the weights that the module refers to where `--weights-out` says; the module names the file, from where its text goes."""
        output = Path(self.args.output_file).parent if self.args.output_file else Path()
        if not self.args.weights_out:
            keep_weights_found(module, self.folder, output)
            lost = unsaved_weights(module, self.ctx.weights)
            if lost:
                told = f"{len(lost)} weights that passes added are not kept: {', '.join(lost[:3])}"
                print(f"warning: {told}; keep them with --weights-out FILE.safetensors", file=sys.stderr)
            return
        if self.ctx.weights is None:
            raise UsageError(
                "there are no weights to write", where="--weights-out", hint="give them: --weights FILE|random:0"
            )
        save_weights(module, self.ctx.weights, Path(self.args.weights_out), output)
