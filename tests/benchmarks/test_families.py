"""The table of stated and exploratory comparisons follows from the suite's tables."""

import csv
import sys

import yaml
from conftest import ROOT

sys.path.insert(0, str(ROOT / "benchmarks"))
import families


def test_the_table_is_what_the_suites_tables_give():
    assert families.table() == families.OUTPUT.read_bytes()


def test_the_stated_family_is_that_of_the_note():
    note = yaml.safe_load((ROOT / "config" / "tiny-imagenet-20.yaml").read_text())["note"]
    pairs = families.confirmatory()
    assert f"one Holm family of {len(set(pairs))} comparisons" in note
    baselines = {baseline for _, baseline, _ in pairs}
    assert len(baselines) == 5


def test_no_single_network_takes_more_time_than_what_it_stands_against():
    with families.OUTPUT.open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["question"] == "equal time"]
    assert rows
    for row in rows:
        assert int(row["baseline_epochs"]) <= int(row["epochs"]) * float(row["time_ratio"])
