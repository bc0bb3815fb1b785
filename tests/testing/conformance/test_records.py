"""What the records say is right is right: a part of every suite by default, all of it as slow tests. See `stepwell.testing.conformance`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import pytest

from stepwell.testing.conformance.case import Outcome
from stepwell.testing.conformance.executors import missing
from stepwell.testing.conformance.record import losses, record_path
from stepwell.testing.conformance.run import Make, Runner
from stepwell.testing.conformance.suites import SUITES, recorded, sample

RECORDS = Path(__file__).resolve().parents[2] / "conformance"
BUILT = ("x86-64-v4", "x86-64-v3", "sm_90a")
SHORT = {"x86-64-v4": 40, "x86-64-v3": 20, "sm_90a": 30}
"""About so many right cases are run by default, always the same ones, and a few of those that are refused."""


@cache
def cases_of(suite: str, executor: str) -> Mapping[str, Make]:
    return SUITES[suite].cases(executor)


def known(suite: str, executor: str) -> dict[str, Outcome]:
    path = record_path(RECORDS, suite, executor)
    return recorded(path, cases_of(suite, executor)) if path.exists() else {}


def of_status(outcomes: Mapping[str, Outcome], *statuses: str) -> list[str]:
    return [name for name, outcome in outcomes.items() if outcome.status in statuses]


def check(suite: str, executor: str, names: list[str], jobs: int = 1) -> None:
    """These cases end no worse than the record says."""
    before = known(suite, executor)
    seen = Runner(executor, jobs).run(cases_of(suite, executor), SUITES[suite].batches(names, before))
    assert len(seen) == len(names)
    lost = losses({name: before.get(name, Outcome("refused")) for name in names}, seen)
    assert not lost, "\n".join([f"{len(lost)} cases are worse than recorded", *lost[:20]])


def part(suite: str, executor: str, count: int) -> list[str]:
    outcomes = known(suite, executor)
    right, refused = of_status(outcomes, "right"), of_status(outcomes, "refused")
    return sample(right, max(1, len(right) // count)) + sample(refused, 10 * max(1, len(refused) // count))


def skip_unless_here(executor: str) -> None:
    if why := missing(executor):
        pytest.skip(why)


@pytest.mark.parametrize("executor", SHORT)
def test_a_part_of_the_sweep(executor: str) -> None:
    skip_unless_here(executor)
    names = part("sweep", executor, SHORT[executor])
    assert names, "nothing of it is recorded"
    check("sweep", executor, names)


def test_node_tests() -> None:
    """A part of ONNX's node tests on everything that runs them. One test, because collecting them takes longer than running them."""
    for executor, count in (("graph", 60), ("x86-64-v4", 15), ("sm_90a", 15)):
        if not missing(executor):
            check("nodes", executor, part("nodes", executor, count))


SHARES = {
    "converted": 8,
    "operator": 6,
    "simple": 4,
    "light": 12,
    "models": 5,
    "tf_graphs": 12,
    "caffe_definitions": 25,
}
"""By default one case in so many of the suites that run at the graph level only."""


def skip_unless_there(suite: str) -> None:
    if why := SUITES[suite].absent():
        pytest.skip(why)


@pytest.mark.parametrize("suite", SHARES)
def test_a_part_of_a_suite(suite: str) -> None:
    skip_unless_there(suite)
    names = sample(list(cases_of(suite, "graph")), SHARES[suite])
    assert names and set(names) <= set(known(suite, "graph")), "of these cases it is not recorded how they end"
    check(suite, "graph", names)


@pytest.mark.slow
@pytest.mark.parametrize("suite", SHARES)
def test_a_suite_in_full(suite: str) -> None:
    skip_unless_there(suite)
    check(suite, "graph", list(cases_of(suite, "graph")), jobs=2)


def test_every_suite_is_sampled_and_recorded() -> None:
    assert set(SUITES) == {*SHARES, "sweep", "nodes"}
    assert {path.stem for path in RECORDS.glob("*-graph.txt")} >= {f"{suite}-graph" for suite in (*SHARES, "nodes")}


@pytest.mark.slow
@pytest.mark.parametrize("executor", [*BUILT, "graph"])
def test_the_sweep_in_full(executor: str) -> None:
    skip_unless_here(executor)
    check("sweep", executor, list(cases_of("sweep", executor)))


@pytest.mark.slow
@pytest.mark.parametrize("executor", [*BUILT, "graph"])
def test_the_node_tests_in_full(executor: str) -> None:
    skip_unless_here(executor)
    check("nodes", executor, list(cases_of("nodes", executor)))


@pytest.mark.parametrize("path", sorted(RECORDS.glob("*.txt")), ids=lambda path: path.stem)
def test_no_record_holds_what_may_not_be(path: Path) -> None:
    """Wrong numbers, deaths and our own faults: none. What a pass refuses though compile let it through: none."""
    statuses = set(re.findall(r"^# (\w+)", path.read_text(), re.MULTILINE))
    assert statuses <= {"right", "refused"}, f"{path.name} holds what ended {', '.join(sorted(statuses))}"


def test_every_target_is_recorded() -> None:
    assert {path.stem for path in RECORDS.glob("*.txt")} >= {f"sweep-{name}" for name in BUILT} | {"nodes-graph"}
