"""The recorded table of live weights is what the code gives."""

import csv
import sys

from conftest import ROOT

sys.path.insert(0, str(ROOT / "benchmarks"))
import live


def test_the_recorded_shares_are_those_of_the_code():
    with live.OUTPUT.open(newline="", encoding="utf-8") as file:
        recorded = list(csv.DictReader(file))
    assert {row["architecture"] for row in recorded} == set(live.ARCHITECTURES)
    small = [row for row in recorded if row["architecture"] == "wrn-10-2"]
    assert len(small) == 11
    for row in small:
        found = live.row("wrn-10-2", int(row["exits"]), row["granularity"])
        assert {name: str(value) for name, value in found.items()} == row
