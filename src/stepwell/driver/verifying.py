"""Verifies what passes touched: an op of the module's top level whose tree holds what it held when it last verified is not visited again.

What depends on other ops is: an op that names a symbol (a launch its kernel, a call its function) is verified again, without its tree, whenever anything changed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from xdsl.dialects.builtin import ModuleOp, SymbolRefAttr
from xdsl.ir import Operation

Objects = list[object]


def objects_of(op: Operation) -> Objects:
    """Everything in the tree of `op` that a verifier may look at, in a fixed order. Ops, blocks and values are equal
    only to themselves, attributes and types are immutable: a change in place puts something unequal there."""
    found: Objects = []
    _collect(op, found)
    return found


def _collect(op: Operation, found: Objects) -> None:
    found.append(op)
    found.extend(op.operands)
    for result in op.results:
        found.append(result.type)
    for held in (op.properties, op.attributes):
        found.extend(held)
        found.extend(held.values())
    found.extend(op.successors)
    for region in op.regions:
        found.append(region)
        for block in region.blocks:
            found.append(block)
            for argument in block.args:
                found.append(argument.type)
            for inner in block.ops:
                _collect(inner, found)


def naming_ops(op: Operation) -> Iterator[Operation]:
    """The ops in the tree of `op`, itself included, that hold a reference to a symbol."""
    for inner in op.walk():
        held = (*inner.properties.values(), *inner.attributes.values())
        if any(isinstance(attribute, SymbolRefAttr) for attribute in held):
            yield inner


@dataclass
class _Verified:
    objects: Objects
    naming: tuple[Operation, ...]


@dataclass
class ModuleVerifier:
    """What is known of one module. `visited` counts the ops of the top level whose trees were verified."""

    visited: int = 0
    _attributes: Objects = field(default_factory=list)
    _known: dict[Operation, _Verified] = field(default_factory=dict)

    def verify(self, module: ModuleOp) -> None:
        """As `module.verify()`, without the trees that are as they were when this last passed. Raises VerifyException."""
        attributes = [module, *module.attributes, *module.attributes.values(), *module.properties.values()]
        if attributes != self._attributes:
            self._known = {}
        self._attributes = []
        found = {op: objects_of(op) for op in module.ops}
        changed = [op for op in found if not self._is_known(op, found[op])]
        if changed or len(found) != len(self._known):
            self._verify(module, changed, list(found))
        self._known = {
            op: self._known[op] if op not in changed else _Verified(found[op], tuple(naming_ops(op))) for op in found
        }
        self._attributes = attributes

    def _is_known(self, op: Operation, objects: Objects) -> bool:
        return op in self._known and objects == self._known[op].objects

    def _verify(self, module: ModuleOp, changed: Sequence[Operation], ops: Sequence[Operation]) -> None:
        new = set(changed)
        for op in ops:
            if op in new:
                self.visited += 1
                op.verify()
                continue
            naming = self._known[op].naming
            for inner in dict.fromkeys((*naming, op) if naming else ()):
                inner.verify(verify_nested_ops=False)
        module.verify(verify_nested_ops=False)
