"""Fixtures: parsed modules from the .mlir files of this folder or from text."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from xdsl.dialects import get_all_dialects
from xdsl.dialects.builtin import ModuleOp
from xdsl.parser import Parser

from stepwell.passes import StepwellContext
from stepwell.plugins.universe import UNIVERSE

Parse = Callable[[str], ModuleOp]


@pytest.fixture
def parse() -> Parse:
    """Parse and verify a module from text, or from a file of this folder when the text is a file name."""

    def parsed(text: str) -> ModuleOp:
        context = StepwellContext()
        for name, factory in {**get_all_dialects(), **UNIVERSE.all_dialects}.items():
            context.register_dialect(name, factory)
        source = (Path(__file__).parent / text).read_text() if text.endswith(".mlir") else text
        module = Parser(context, source).parse_module()
        module.verify()
        return module

    return parsed
