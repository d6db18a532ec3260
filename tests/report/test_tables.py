"""Tables and statistics."""

import csv
import math
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from nfe.common.errors import InputError
from nfe.common.files import write_csv
from nfe.engine.runner import RunFolders, Worker, execute
from nfe.report import tables
from nfe.report.figures import accuracy_vs_flops
from nfe.report.figures.data import read as read_material
from nfe.report.schema import RUNS, TIMING, text
from nfe.report.statistics import summarize
from nfe.report.table_diff import compare
from nfe.suite.expansion import expand

CONFIG = {
    "suite": "test",
    "dataset": "digits",
    "architecture": "wrn-10-1",
    "epochs": 1,
    "seeds": 2,
    "groups": {
        "headline": [
            {"method": ["single", "deep_ensemble"], "seeds": 1},
            {"method": "nfe", "exits": 2},
            {"method": "nfe", "exits": 3, "pruning": "random", "sparsity": 0.999, "seeds": 1},
        ]
    },
}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A small suite, trained, with its results folder."""
    root = tmp_path_factory.mktemp("suite")
    suite = expand(CONFIG)
    runs, artifacts = root / "results" / "runs", root / "artifacts"
    worker = Worker()
    for planned in suite.runs:
        name = planned.run.name
        execute(planned.run, RunFolders(runs / name, artifacts / name, runs, artifacts), worker)
    return suite, root / "results"


def read(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def test_tables_hold_every_run_and_say_what_collapsed(finished):
    suite, results = finished
    tables.write(suite, results)
    rows = read(results / "runs.csv")
    assert tuple(rows[0]) == RUNS
    assert [row["run"] for row in rows] == [p.run.name for p in suite.runs]
    assert [row["status"] for row in rows].count("collapsed") == 1
    summary = {(r["method"], r["exit_stages"]): r for r in read(results / "summary.csv")}
    assert summary["nfe", "1"]["seeds"] == "2"
    assert summary["nfe", "1/2"]["seeds"] == "0"
    assert summary["nfe", "1/2"]["collapsed"] == "1"
    # Members that are there only for the ensemble are no seeds of the single network.
    assert summary["single", ""]["seeds"] == "1"
    assert "1 collapsed" in (results / "summary.md").read_text()
    tex = (results / "summary.tex").read_text()
    assert r"deep\_ensemble" in tex
    assert tex.count(r"\toprule") == tex.count(r"\bottomrule") >= 1


def test_tables_are_the_same_text_each_time(finished):
    suite, results = finished
    tables.write(suite, results)
    before = (results / "runs.csv").read_bytes(), (results / "summary.csv").read_bytes()
    tables.write(suite, results)
    assert before == ((results / "runs.csv").read_bytes(), (results / "summary.csv").read_bytes())


def test_a_missing_run_is_refused_or_left_out_on_request(finished, tmp_path):
    suite, _ = finished
    with pytest.raises(InputError, match="not finished"):
        tables.write(suite, tmp_path)
    tables.write(suite, tmp_path, partial=True)
    assert read(tmp_path / "runs.csv") == []


def test_a_difference_names_run_and_metric_but_not_timing(finished, tmp_path):
    suite, results = finished
    tables.write(suite, results)
    rows = read(results / "runs.csv")
    changed = [dict(row, train_seconds="9.9") for row in rows]
    changed[0]["nll"] = "9.000000"
    with open(tmp_path / "runs.csv", "w", newline="") as file:
        writer = csv.DictWriter(file, RUNS)
        writer.writeheader()
        writer.writerows(changed)
    said = compare(results, tmp_path)
    assert f"{rows[0]['run']}: nll: {rows[0]['nll']} -> 9.000000" in said
    assert f"{len(rows) - 1} of {len(rows)} shared rows are equal" in said
    assert not any(column in said for column in TIMING if column != "device")


@given(st.lists(st.floats(-100, 100), min_size=3, max_size=8))
def test_the_interval_is_students_t(values):
    got = summarize(values)
    low, high = stats.t.interval(
        0.95, len(values) - 1, loc=got["mean"], scale=max(stats.sem(values), 1e-300)
    )
    assert got["ci95"] == pytest.approx((high - low) / 2, rel=1e-6, abs=1e-9)
    assert got["mean"] == pytest.approx(math.fsum(values) / len(values), abs=1e-9)


def test_few_seeds_have_no_interval():
    assert summarize([1.0]) == {"mean": 1.0, "std": None, "ci95": None}
    assert summarize([1.0, 3.0])["ci95"] is None
    assert summarize([])["mean"] is None


def test_cells_have_fixed_decimals():
    assert text("accuracy", 98.0) == "98.0000"
    assert text("member_accuracy", [1.0, 2.5]) == "1.0000/2.5000"
    assert text("grouping_ratio", [0.3, 0.7]) == "0.3/0.7"
    assert text("pruning", None) == ""


def test_another_schedule_is_another_setting_and_costs_are_means(finished):
    suite, results = finished
    pair = [row for row in tables.run_rows(suite, results) if row["exit_stages"] == "1"]
    pair[0]["macs_nonzero"], pair[1]["macs_nonzero"] = "1000", "2001"
    pair[0]["train_macs"] = pair[1]["train_macs"] = str(2**60 + 1)
    (summary,) = tables.summary_rows(pair)
    assert summary["macs_nonzero"] == "1500"
    assert summary["train_macs"] == str(2**60 + 1)
    other = [dict(row, recipe=row["recipe"].replace("constant-linear", "cosine")) for row in pair]
    audited = [dict(row, audit="true") for row in pair]
    summaries = tables.summary_rows([*pair, *other, *audited])
    assert [row["seeds"] for row in summaries] == ["2", "2", "2"]
    text = tables.markdown(suite, summaries)
    assert "schedule cosine" in text
    assert "schedule constant-linear" in text


def test_seeds_of_one_setting_are_one_mark_whatever_their_masks(finished, tmp_path):
    suite, results = finished
    rows = [row for row in tables.run_rows(suite, results) if row["exit_stages"] == "1"]
    rows[0]["macs_nonzero"], rows[1]["macs_nonzero"] = "1000", "3000"
    write_csv(tmp_path / "runs.csv", RUNS, rows)
    figure = accuracy_vs_flops.draw(read_material(tmp_path / "runs.csv", ["headline"]))
    (mark,) = figure.axes[0].containers
    assert mark.lines[0].get_xdata() == [4000]
    assert mark.lines[0].get_ydata() == [statistics.fmean(float(r["accuracy"]) for r in rows)]
