"""The table of what fission costs as executed: every question answered on a small network."""

import argparse
import csv
import sys

import pytest
from conftest import ROOT

from nfe.common.files import read_json

sys.path.insert(0, str(ROOT / "benchmarks"))
import compact

OPTIONS = argparse.Namespace(threads=1, turns=2, seconds=0.01)


def small(question, batch):
    return compact.Case(question, "wrn-10-1", "float32", batch)


@pytest.mark.parametrize(("question", "batch"), [("training", 8), ("inference", 1), ("onnx", 1)])
def test_every_contender_of_a_question_has_a_row(question, batch):
    rows = {row["contender"]: row for row in compact.measured(small(question, batch), OPTIONS)}
    single = rows.pop("single")
    assert single["ratio"] == single["bytes_ratio"] == "1.000"
    masked, divided = rows["nfe, weight, N = 3"], rows["nfe, alternating, N = 3"]
    if question == "training":
        assert float(masked["bytes_ratio"]) < 1.3
    else:
        # Written out, masked paths have zeros.
        assert masked["bytes"] > 1.5 * divided["bytes"]
    if question == "onnx":
        assert set(rows) == set(compact.FISSIONED)
    else:
        assert rows["deep_ensemble, M = 3"]["bytes_ratio"] == "3.000"


def test_rows_of_other_cases_stay_and_those_measured_again_are_replaced(tmp_path, monkeypatch):
    every = [small("onnx", 1), small("inference", 1), small("inference", 128)]
    monkeypatch.setattr(compact, "cases", lambda: every)
    table = tmp_path / "table.csv"

    def row(case, milliseconds):
        place = {part: getattr(case, part) for part in compact.CASE}
        return {**place, "contender": "single", "milliseconds": milliseconds}

    for case, value in [(every[2], 1), (every[0], 2), (every[1], 3), (every[2], 4)]:
        compact.recorded(table, [row(case, value)])
        compact.noted(table.with_suffix(".json"), case, 1.0, OPTIONS)
    with table.open(newline="") as file:
        found = [(r["question"], r["batch"], r["milliseconds"]) for r in csv.DictReader(file)]
    assert found == [("onnx", "1", "2"), ("inference", "1", "3"), ("inference", "128", "4")]
    noted = read_json(table.with_suffix(".json"))
    assert set(noted["cases"]) == {case.name for case in every}
    assert noted["environment"]["libraries"]["torch"]


def test_cases_are_named_by_distinct_words():
    names = [case.name for case in compact.cases()]
    assert len(set(names)) == len(names) == 20


def test_the_documented_ratios_are_those_recorded():
    text = (ROOT / "docs" / "performance.md").read_text(encoding="utf-8")
    (table,) = (ROOT / "benchmarks").glob("compact_*.csv")
    assert compact.markdown(table) in text
