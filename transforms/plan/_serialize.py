"""A `plan.program` as the JSON-able dictionary that the runtime reads.

The schema stands in `stepwell.runtime.program`, which parses it; nothing but plain numbers, texts, lists and
dictionaries is made."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Any

from xdsl.dialects.arith import ConstantOp as ArithConstantOp
from xdsl.dialects.builtin import FloatAttr, IntegerAttr, ModuleOp, StringAttr
from xdsl.ir import Operation, SSAValue

from stepwell.dialects import plan
from stepwell.dialects.numpy_types import element_bytes
from stepwell.passes import PassFailure, names_of
from stepwell.runtime.program import SCHEMA
from stepwell.transforms.plan._memory_report import memory_report

Json = dict[str, Any]


def module_hash(text: str) -> str:
    """The hash that ties a program to the module that it was made from: sha256 of the module's text."""
    return hashlib.sha256(text.encode()).hexdigest()


def find_program(module: ModuleOp) -> plan.ProgramOp:
    """The one `plan.program` of a module."""
    programs = [op for op in module.ops if isinstance(op, plan.ProgramOp)]
    if len(programs) != 1:
        raise PassFailure(f"a plan is made from a module with one plan.program, here are {len(programs)}")
    return programs[0]


def serialize_program(module: ModuleOp, text: str | None = None) -> Json:
    """The program of a kernel-level module; `text` is what is stored as module.mlir (default: the module printed)."""
    program = find_program(module)
    if program.arena is None or program.constants is None:
        raise PassFailure("offsets are not assigned", where="plan.program", hint="run plan-assign-offsets")
    writer = _Writer(program, kernel_names(module, program))
    for op in program.block.ops:
        writer.write(op)
    target = _text(module, "stepwell.target")
    return {
        "schema": SCHEMA,
        "target": target,
        "level": _text(module, "stepwell.cpu") if target == "cpu" else "",
        "module_hash": module_hash(str(module) if text is None else text),
        "arena": program.arena.value.data,
        "constants": program.constants.value.data,
        "bindings": writer.bindings,
        "windows": writer.windows,
        "tables": writer.tables,
        "tensor_maps": writer.maps,
        "kernels": writer.kernels,
        "launches": writer.launches,
        "copies": writer.copies,
        "memory": memory_report(program).as_dict(),
    }


def kernel_names(module: ModuleOp, program: plan.ProgramOp) -> list[str]:
    """The module's kernels, in order: those that are launched and, on the CPU, all that stand in `stepwell_kernels`."""
    launched = {step.kernel_name for _, step in program.steps() if isinstance(step, plan.LaunchOp)}
    return [_symbol(op) for op in module.ops if "stepwell.kernel" in op.attributes or _symbol(op) in launched]


def _symbol(op: Operation) -> str:
    name = op.properties.get("sym_name", op.attributes.get("sym_name"))
    return name.data if isinstance(name, StringAttr) else ""


def _text(module: ModuleOp, key: str) -> str:
    value = module.attributes.get(key)
    if not isinstance(value, StringAttr):
        raise PassFailure(f"the module has no {key}", hint=f'set it: builtin.module attributes {{{key} = "..."}}')
    return value.data


@dataclass
class _Writer:
    """Collects the lists of the dictionary, one op after the other."""

    program: plan.ProgramOp
    kernels: list[str]
    bindings: list[Json] = field(default_factory=list)
    windows: list[Json] = field(default_factory=list)
    tables: list[Json] = field(default_factory=list)
    maps: list[Json] = field(default_factory=list)
    launches: list[Json] = field(default_factory=list)
    copies: list[Json] = field(default_factory=list)
    index: dict[SSAValue, int] = field(default_factory=dict)

    def write(self, op: Operation) -> None:
        """Add what `op` describes."""
        match op:
            case plan.BindingOp():
                self.index[op.buffer] = len(self.bindings)
                entry = {"name": op.binding_name.data, "direction": op.direction.data.value}
                self.bindings.append({**entry, **_array(op.type)})
            case plan.WindowOp() if any(isinstance(use.operation, plan.PointerTableOp) for use in op.window.uses):
                self.index[op.window] = len(self.windows)
                self.windows.append(self._window(op))
            case plan.PointerTableOp():
                self.index[op.table] = len(self.tables)
                self.tables.append(self._table(op))
            case plan.TensorMapOp():
                self.index[op.map] = len(self.maps)
                self.maps.append(self._tensor_map(op))
            case plan.LaunchOp():
                self.launches.append(self._launch(op))
            case plan.CopyOp():
                assert isinstance(op.source.type, plan.BufferType)
                places = {"source": self.place(op.source), "target": self.place(op.target)}
                self.copies.append({**places, "bytes": op.source.type.size_in_bytes()})

    def place(self, value: SSAValue) -> Json:
        """Where a buffer begins."""
        offset, owner = 0, value.owner
        while isinstance(owner, plan.ViewOp):
            assert isinstance(owner.source.type, plan.BufferType)
            offset += owner.element_offset * element_bytes(owner.source.type.element_type)
            owner = owner.source.owner
        if isinstance(owner, plan.BindingOp):
            return {"space": "binding", "offset": offset, "binding": self.index[owner.buffer]}
        assert isinstance(owner, (plan.SliceOp, plan.ConstantOp)) and owner.at is not None
        space = "arena" if isinstance(owner, plan.SliceOp) else "constants"
        return {"space": space, "offset": owner.at.value.data + offset}

    def _window(self, op: plan.WindowOp) -> Json:
        assert isinstance(op.source.type, plan.BufferType)
        kernel, strides, pads, dilations = map(list, op.geometry())
        fill = repr(float(op.fill.value.data)) if isinstance(op.fill, (FloatAttr, IntegerAttr)) else "0.0"
        geometry = {"kernel": kernel, "strides": strides, "pads": pads, "dilations": dilations}
        return {"place": self.place(op.source), **_array(op.source.type), **geometry, "fill": fill}

    def _table(self, op: plan.PointerTableOp) -> Json:
        rows = op.rows.value.data
        if isinstance(op.source.type, plan.WindowType):
            return {"window": self.index[op.source], "rows": rows}
        assert isinstance(op.source.type, plan.BufferType)
        shape = op.source.type.get_shape()
        dense = [shape[0], 1, shape[1]] if len(shape) == 2 else list(shape)
        return {"place": self.place(op.source), **_array(op.source.type), "shape": dense, "rows": rows}

    def _tensor_map(self, op: plan.TensorMapOp) -> Json:
        assert isinstance(op.source.type, plan.BufferType)
        array = _array(op.source.type)
        if op.data_type is not None:
            array["dtype"] = op.data_type.data
        return {
            "kind": op.kind.data.value,
            "place": self.place(op.source),
            **array,
            "strides": list(op.source.type.get_strides()),
            "box": _numbers(op.box),
            "element_strides": list(op.element_strides()),
            "lower": _numbers(op.lower),
            "upper": _numbers(op.upper),
            "swizzle": op.swizzle_bytes,
            "l2": op.l2_bytes,
        }

    def _launch(self, op: plan.LaunchOp) -> Json:
        if op.outs:
            raise PassFailure(
                f"the launch of @{op.kernel_name} still has outs: its kernel is not lowered",
                where=" + ".join(names_of(op)),
                hint="run the kernel stage first (stepwell-opt --to kernel)",
            )
        entry: Json = {
            "kernel": self.kernels.index(op.kernel_name),
            "arguments": [self._argument(value) for value in op.args],
            "names": list(names_of(op)),
        }
        if op.tiles is not None:
            return {**entry, "tiles": plan.number_of(op.tiles), "grain": 1 if op.grain is None else op.grain.value.data}
        return {
            **entry,
            "grid": [op.blocks, 1, 1],
            "block": _numbers(op.block) or [1, 1, 1],
            "shared": 0 if op.shared is None else op.shared.value.data,
            "pdl": op.pdl is not None and bool(op.pdl.value.data),
        }

    def _argument(self, value: SSAValue) -> Json:
        match value.type:
            case plan.BufferType():
                return {"kind": "pointer", "place": self.place(value)}
            case plan.TensorMapType():
                return {"kind": "tensor_map", "index": self.index[value]}
            case plan.TableType():
                return {"kind": "table", "index": self.index[value]}
        if isinstance(value.owner, plan.NUMBER_OPS):
            return {"kind": plan.element_name(value.type), "value": plan.number_of(value)}
        if isinstance(value.owner, ArithConstantOp) and isinstance(value.owner.value, (IntegerAttr, FloatAttr)):
            return {"kind": plan.element_name(value.type), "value": value.owner.value.value.data}
        what = "only memory, plan arithmetic and arith.constant"
        raise PassFailure(f"a launch argument of type {value.type} cannot be passed: {what}")


def _array(type: plan.BufferType) -> Json:
    return {"dtype": plan.element_name(type.element_type), "shape": list(type.get_shape())}


def _numbers(attribute: Any) -> list[int]:
    return [] if attribute is None else [int(value) for value in attribute.get_values()]
