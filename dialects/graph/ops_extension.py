"""Ops beyond the dialect's own meaning: plugins, and exchange between devices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from xdsl.dialects.builtin import DictionaryAttr, StringAttr, TensorType
from xdsl.ir import Attribute, SSAValue
from xdsl.irdl import (
    IRDLOperation,
    irdl_op_definition,
    operand_def,
    opt_prop_def,
    prop_def,
    result_def,
    traits_def,
    var_operand_def,
    var_result_def,
)
from xdsl.traits import Pure
from xdsl.utils.exceptions import VerifyException

from stepwell.dialects.graph import checks
from stepwell.dialects.graph.base import GraphOp, Value, int_def, ints, ints_def, number, word
from stepwell.dialects.graph.checks import Tensor
from stepwell.dialects.graph.kinds import CollectiveKind, CollectiveKindAttr, ReduceKind, ReduceKindAttr
from stepwell.dialects.graph.plugins import Expanding, Linking, Plugin, find_plugin


@irdl_op_definition
class CustomOp(IRDLOperation):
    """A plugin's op: `%y = graph.custom "mish" version "1" from "examples" (%x) {beta = 1.0} : (tensor<4xf32>) -> tensor<4xf32>`.

    Name, version and namespace say which plugin; the parameters are its own. Shape function, reference and kernels come with it: where it is
    loaded the verifier asks it for the result types and the interpreter runs its reference; where it is not, the text can be read and
    passes leave the op alone, and whoever needs more names the plugin that is missing."""

    name = "graph.custom"

    plugin = prop_def(StringAttr, prop_name="plugin")
    version = prop_def(StringAttr, prop_name="version")
    namespace = prop_def(StringAttr, prop_name="namespace")
    parameters = prop_def(DictionaryAttr, prop_name="parameters")
    inputs = var_operand_def(TensorType)
    outputs = var_result_def(TensorType)

    traits = traits_def(Pure())

    assembly_format = "$plugin `version` $version `from` $namespace `(` $inputs `)` $parameters attr-dict `:` functional-type(operands, results)"

    def __init__(
        self,
        plugin: str,
        inputs: Sequence[Value],
        parameters: Mapping[str, Attribute] | None = None,
        *,
        version: str = "1",
        namespace: str = "",
        result_types: Sequence[Attribute] | None = None,
    ) -> None:
        names = {"plugin": StringAttr(plugin), "version": StringAttr(version), "namespace": StringAttr(namespace)}
        values = [SSAValue.get(value) for value in inputs]
        held = DictionaryAttr(dict(parameters or {}))
        types = result_types
        if types is None:
            types = find_plugin(namespace, plugin, version).infer([value.type for value in values], held.data)
        super().__init__(operands=[values], properties={**names, "parameters": held}, result_types=[types])

    @property
    def definition(self) -> Plugin | None:
        """The plugin, where it is loaded."""
        return find_plugin(self.namespace.data, self.plugin.data, self.version.data, missing_ok=True)

    def why_not_expanded(self) -> str:
        """Why the op cannot be written in ops of the dialect; empty where it can."""
        plugin = self.definition
        if plugin is None:
            place = f' of "{self.namespace.data}"' if self.namespace.data else ""
            return f"version {self.version.data}{place} is not loaded: import the module that defines it"
        if not isinstance(plugin, Expanding):
            return "says its meaning in NumPy only: say it in graph ops too"
        linked = ", which no pipeline links into a plan yet" if plugin.form == "PTX" else ""
        said = f"says its meaning in {plugin.form} only{linked}" if plugin.form else "says no meaning"
        return "" if plugin.has_ops else f"{said}: say it in graph ops too"

    @property
    def linking(self) -> Linking | None:
        """The plugin, where its meaning is a program of the tile level and no ops."""
        plugin = self.definition
        linked = isinstance(plugin, Linking) and plugin.has_program and bool(self.why_not_expanded())
        return plugin if linked and isinstance(plugin, Linking) else None

    def verify_(self) -> None:
        with checks.named(f'{self.name} "{self.plugin.data}"'):
            for position, value in enumerate((*self.inputs, *self.outputs)):
                checks.tensor(value, f"value {position}")
            if self.definition is None:
                return
            types = list(self.definition.infer([value.type for value in self.inputs], self.parameters.data))
            if types != [result.type for result in self.outputs]:
                raise VerifyException(f"the plugin gives ({', '.join(map(str, types))}), the results are others")


@irdl_op_definition
class CollectiveOp(GraphOp):
    """Exchange between the ranks of a group: `graph.collective all_reduce %x sum dim 0 group [0, 1] : tensor<4xf32> -> tensor<4xf32>`.

    all_reduce combines the operands of all ranks of the group element by element (`combine`: sum product max min and or); all_gather joins them along
    `dim` in the group's order; reduce_scatter combines and gives each rank its part of `dim`; all_to_all gives rank j the j-th part of `dim` of
    every rank, joined along it. `group` lists ranks; every rank of it runs the same op."""

    name = "graph.collective"

    kind_attr = prop_def(CollectiveKindAttr, prop_name="kind")
    operand = operand_def(TensorType)
    combine_attr = opt_prop_def(ReduceKindAttr, prop_name="combine")
    dim_attr = int_def("dim")
    group_attr = ints_def("group")
    result = result_def(TensorType)
    kind, dim, group = word("kind"), number("dim"), ints("group")

    assembly_format = "$kind $operand (`combine` $combine^)? `dim` $dim `group` $group attr-dict `:` type($operand) `->` type($result)"

    def __init__(
        self, operand: Value, *, kind: str, group: Sequence[int], dim: int = 0, combine: str | None = None
    ) -> None:
        properties: dict[str, Any] = {"kind": CollectiveKindAttr(CollectiveKind(kind)), "dim": dim, "group": group}
        combined = None if combine is None else ReduceKindAttr(ReduceKind(combine))
        self.construct([operand], {**properties, "combine": combined})

    @property
    def combine(self) -> str | None:
        """How elements are combined; None where they are not."""
        return None if self.combine_attr is None else self.combine_attr.data.value

    def infer(self) -> Sequence[Attribute]:
        x = checks.tensor(self.operand, "the operand")
        ranks, reduces = len(self.group), self.kind in ("all_reduce", "reduce_scatter")
        if not ranks or len(set(self.group)) != ranks or min(self.group) < 0:
            raise VerifyException(f"group {list(self.group)} must list each rank once, at least one")
        if (self.combine is not None) != reduces:
            raise VerifyException(f"{self.kind} {'needs' if reduces else 'has no'} combine")
        if self.kind == "all_reduce":
            return [x.type]
        extent = checks.known(x.shape[checks.dim_in(self.dim, x.rank)], f"dim {self.dim}")
        if self.kind != "all_gather" and extent % ranks:
            raise VerifyException(f"extent {extent} of dim {self.dim} does not divide among {ranks} ranks")
        made = {"all_gather": extent * ranks, "reduce_scatter": extent // ranks}.get(self.kind, extent)
        return [Tensor(x.element, (*x.shape[: self.dim], made, *x.shape[self.dim + 1 :])).type]
