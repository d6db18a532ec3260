"""Launches and memory of a step stay what they were, and under their bounds."""

import csv

import pytest
from costs import CASES, LARGE, TABLE, cost
from device import each

from nfe.method import method_class

# Of a step whose forward and backward pass are one graph.
MOST_LAUNCHES = 60
# Peak memory of three exits over one network's.
MOST_MEMORY = 1.6


def expected() -> dict[str, dict[str, str]]:
    with TABLE.open() as file:
        rows = list(csv.DictReader(file))
    return {f"{row['method']}, {row['architecture']}, {row['batch']}": row for row in rows}


def test_the_table_has_every_case() -> None:
    assert sorted(expected()) == sorted(CASES)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("what", ["launches", "kernels", "peak_mb"])
def test_a_step_costs_what_it_did(case: str, what: str) -> None:
    """To accept a change: python tests/nullgpu/costs.py."""
    measured = each(cost, CASES)[case].get()
    assert measured[what] == pytest.approx(float(expected()[case][what]), rel=0.05)


def method_of(case: str) -> str:
    return case.partition(",")[0].partition(" ")[0]


RECORDED = [case for case in CASES if method_class(method_of(case)).capturable]


@pytest.mark.parametrize("case", RECORDED)
def test_a_recorded_step_has_few_launches_and_lacks_none(case: str) -> None:
    measured = each(cost, CASES)[case].get()
    assert measured["launches"] <= MOST_LAUNCHES
    assert measured["astray"] == {}


@pytest.mark.parametrize("architecture", LARGE)
def test_three_exits_fit_beside_one_network(architecture: str) -> None:
    outcomes = each(cost, CASES)
    single, nfe = (outcomes[f"{m}, {architecture}, 128"].get() for m in ("single", "nfe"))
    assert nfe["peak_mb"] <= MOST_MEMORY * single["peak_mb"]
