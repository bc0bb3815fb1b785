"""A state machine over the runtime: contexts come and go, inputs are passed or bound, plans are saved and loaded, in
any order."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, rule

from stepwell.runtime import Engine, Plan, UsageError, load


@pytest.fixture
def machine(make_plan: Any) -> type[RuleBasedStateMachine]:
    """The machine, over the small plan."""
    return _machine(make_plan())


def test_any_order_of_calls(machine: type[RuleBasedStateMachine]) -> None:
    from hypothesis.stateful import run_state_machine_as_test

    run_state_machine_as_test(machine, settings=settings(max_examples=15, stateful_step_count=20, deadline=None))


def _machine(plan: Plan) -> type[RuleBasedStateMachine]:
    class Runtime(RuleBasedStateMachine):
        contexts = Bundle("contexts")

        @initialize()
        def start(self) -> None:
            self.engine = Engine(plan, threads=1)
            self.bound: dict[Any, tuple[np.ndarray, np.ndarray]] = {}
            self.open: list[Any] = []
            self.folder = tempfile.TemporaryDirectory()

        @rule(target=contexts, threads=st.integers(1, 3))
        def create(self, threads: int) -> Any:
            context = self.engine.create_context(threads=threads)
            self.open.append(context)
            return context

        @rule(context=contexts, value=st.integers(-100, 100))
        def run(self, context: Any, value: int) -> None:
            x = np.full((4, 8), value, np.float32)
            if context in self.bound:
                source, _ = self.bound[context]
                source[...] = x
                outputs = context.run()
                assert outputs["y"] is self.bound[context][1]
            else:
                outputs = context.run({"x": x})
            assert (outputs["y"] == 4 * x).all() and (outputs["z"] == 4 * x).all()

        @rule(context=contexts)
        def bind(self, context: Any) -> None:
            self.bound[context] = (np.zeros((4, 8), np.float32), np.zeros((4, 8), np.float32))
            for name, memory in zip(("x", "y"), self.bound[context], strict=True):
                context.bind(name, memory)

        @rule(context=contexts)
        def fail(self, context: Any) -> None:
            with pytest.raises(UsageError):
                context.run({"x": np.zeros(3, np.float32)})

        @rule(context=consumes(contexts))
        def close(self, context: Any) -> None:
            context.close()
            self.open.remove(context)
            with pytest.raises(UsageError, match="closed"):
                context.run()

        @rule()
        def save_and_load(self) -> None:
            path = Path(self.folder.name) / "net.plan"
            self.engine.save(path)
            self.engine.close()
            self.engine = load(path, threads=2)

        @invariant()
        def engine_runs(self) -> None:
            if hasattr(self, "engine"):
                assert (self.engine.run({"x": np.ones((4, 8), np.float32)})["w"].ravel() == 2 * np.arange(32)).all()

        def teardown(self) -> None:
            if not hasattr(self, "engine"):
                return
            for context in self.open:
                context.close()
            self.engine.close()
            self.folder.cleanup()

    return Runtime
