"""The child that runs batches of cases: a line of JSON in, a line of JSON out, `[[status, reason], ..]`. Whatever kills it kills no more than its batch.

The cases of a batch are compiled as one model, which costs a fraction of compiling each. Where that fails, the first goes alone: when it is refused too, so
are the others one by one, most likely for the same reason; otherwise the batch is halved. What import refuses never enters a model with others.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path

from stepwell.runtime.errors import InternalError, StepwellError
from stepwell.testing.conformance.case import Case, Check, Outcome, load_case, merged
from stepwell.testing.conformance.executors import EXECUTORS, FLUSHING
from stepwell.testing.conformance.oracle import NoOracle, difference, expected_of, flushed

MEMORY = 12 << 30
"""Bytes of address space of a child."""


def run_batch(executor: str, cases: Sequence[Case | Check]) -> list[Outcome]:
    """An outcome for each case: checks say theirs."""
    models = [case for case in cases if isinstance(case, Case)]
    found = iter(_run_models(executor, models))
    return [next(found) if isinstance(case, Case) else _checked(case) for case in cases]


def _checked(check: Check) -> Outcome:
    try:
        return check.run()
    except Exception as error:  # noqa: BLE001 - whatever happens to a case is its outcome
        return outcome_of(error)


def _run_models(executor: str, cases: Sequence[Case]) -> list[Outcome]:
    """One model imports one operator set: cases of different versions do not meet."""
    outcomes = {n: refusal for n, case in enumerate(cases) if len(cases) > 1 and (refusal := _import_refusal(case))}
    for opset in sorted({case.opset for case in cases}):
        left = [n for n, case in enumerate(cases) if n not in outcomes and case.opset == opset]
        outcomes |= dict(zip(left, _run([cases[n] for n in left], executor), strict=True))
    return [outcomes[n] for n in range(len(cases))]


def _run(cases: Sequence[Case], executor: str) -> list[Outcome]:
    if len(cases) < 2:
        return [_alone(executor, case) for case in cases]
    found = _together(executor, cases)
    if found is not None:
        return found
    first = _alone(executor, cases[0])
    if first.status != "right":
        return [first, *(_alone(executor, case) for case in cases[1:])]
    middle = (len(cases) + 1) // 2
    return [first, *_run(cases[1:middle], executor), *_run(cases[middle:], executor)]


def _import_refusal(case: Case) -> Outcome | None:
    from stepwell.api.compile import import_model

    try:
        import_model(case.model)
    except Exception as error:  # noqa: BLE001 - whatever happens to a case is its outcome
        return outcome_of(error)
    return None


def outcome_of(error: Exception) -> Outcome:
    """What an exception of compiling or running says about a case."""
    from stepwell.passes import PassFailure

    if isinstance(error, PassFailure):
        return Outcome("late", _first_reason(error))
    if isinstance(error, StepwellError) and not isinstance(error, InternalError):
        return Outcome("refused", _first_reason(error))
    return Outcome("fault", f"{type(error).__name__}: {error}".partition("\n")[0])


def _first_reason(error: StepwellError) -> str:
    reasons = getattr(error, "reasons", ())
    return str(reasons[0] if reasons else error).partition("\n")[0]


def _alone(executor: str, case: Case) -> Outcome:
    try:
        run = EXECUTORS[executor](case.model)
        results = run(case.feeds) if run is not None else None
    except Exception as error:  # noqa: BLE001 - whatever happens to a case is its outcome
        return outcome_of(error)
    return Outcome("right") if results is None else compared(executor, case, dict(results))


def _together(executor: str, cases: Sequence[Case]) -> list[Outcome] | None:
    """Outcomes of all cases as one model; None when that does not compile."""
    feeds = {f"c{n}_{name}": array for n, case in enumerate(cases) for name, array in case.feeds.items()}
    try:
        run = EXECUTORS[executor](merged(cases))
        results = run(feeds) if run is not None else None
    except Exception:  # noqa: BLE001 - each case alone says what it is
        return None
    if results is None:
        return [Outcome("right")] * len(cases)
    return [
        compared(executor, case, {entry.name: results[f"c{n}_{entry.name}"] for entry in case.model.graph.output})
        for n, case in enumerate(cases)
    ]


def compared(executor: str, case: Case, results: dict[str, object]) -> Outcome:
    """Right or wrong. Where denormals are flushed, results may be those of inputs with zeros in their place."""
    if case.survives:
        return Outcome("right")
    readings = [flushed(case), case] if executor in FLUSHING else [case]
    try:
        found = [difference(reading, expected_of(reading), results) for reading in readings]
    except NoOracle as error:
        return Outcome("refused", f"no oracle: {error}")
    return Outcome("wrong", found[0]) if all(found) else Outcome("right")


def main() -> None:
    """Serve batches until stdin ends. What libraries print goes to stderr."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    warnings.simplefilter("ignore")
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for line in sys.stdin:
        request = json.loads(line)
        paths = request["batch"]
        with contextlib.redirect_stdout(sys.stderr):
            outcomes = run_batch(request["executor"], [load_case(Path(path)) for path in paths])
        print(json.dumps([[outcome.status, outcome.reason] for outcome in outcomes]), file=answers, flush=True)


if __name__ == "__main__":
    main()
