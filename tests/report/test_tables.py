"""Tables and statistics."""

import csv
import dataclasses
import math
import shutil
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from nfe.common.errors import InputError
from nfe.common.files import write_csv, write_json
from nfe.engine.runner import RunFolders, Worker, execute
from nfe.report import tables
from nfe.report.figures import accuracy_vs_flops
from nfe.report.figures.data import read as read_material
from nfe.report.release import manifest
from nfe.report.release.changes import moved
from nfe.report.schema import RUNS, SINCE_2, TIMING, text
from nfe.report.statistics import summarize
from nfe.report.table_diff import compare
from nfe.suite.expansion import expand, load_plan

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
    assert tuple(rows[0]) == (*RUNS, *SINCE_2)
    assert [row["run"] for row in rows] == [p.run.name for p in suite.runs]
    assert [row["status"] for row in rows].count("collapsed") == 1
    summary = {(r["method"], r["exit_stages"]): r for r in read(results / "summary.csv")}
    assert summary["nfe", "1"]["seeds"] == "2"
    # A slash would be a date to spreadsheets.
    assert summary["nfe", "1+2"]["seeds"] == "0"
    assert summary["nfe", "1+2"]["collapsed"] == "1"
    # Whole weights of 8×8 digits' network are live; the single network divides none.
    assert {(row["method"], row["live_weights"]) for row in rows if row["status"] == "ok"} == {
        ("nfe", "1.0000"),
        ("single", ""),
        ("deep_ensemble", ""),
    }
    assert summary["nfe", "1"]["live_weights"] == "1.0000"
    assert summary["single", ""]["live_weights"] == ""
    # Members that are there only for the ensemble are no seeds of the single network.
    assert summary["single", ""]["seeds"] == "1"
    assert "1 collapsed" in (results / "summary.md").read_text()
    tex = (results / "summary.tex").read_text()
    assert "Deep Ensemble & 3" in tex
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
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(changed)
    said = compare(results, tmp_path)
    assert f"{rows[0]['run']}: nll: {rows[0]['nll']} -> 9.000000" in said
    assert f"{len(rows) - 1} of {len(rows)} shared rows are equal" in said
    assert not any(column in said for column in TIMING if column != "device")


def as_released_in_schema_1(suite, results, folder):
    """A copy of the results whose plan was released with tables of schema 1."""
    shutil.copytree(results / "runs", folder / "runs")
    old = dataclasses.replace(suite, untuned=())
    release = folder / "releases" / "1.0.0"
    release.mkdir(parents=True)
    for name, content in tables.contents(old, folder, schema=1).items():
        (folder / name).write_bytes(content)
    (release / "runs.csv").write_bytes((folder / "runs.csv").read_bytes())
    write_json(release / manifest.NAME, {"plan": suite.digest})
    write_json(folder / f"plan-{suite.digest}.json", old.record())


def test_a_released_plan_keeps_its_schema_until_the_plan_is_another(finished, tmp_path):
    suite, results = finished
    suite = dataclasses.replace(suite, untuned=("nfe",))
    as_released_in_schema_1(suite, results, tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.glob("*.*")}
    assert b",1/2," in before["runs.csv"]
    assert b"untuned" not in before["runs.csv"]
    # Snakemake removes what a rule makes before it makes it again.
    for name in before:
        (tmp_path / name).unlink()
    tables.write(suite, tmp_path)
    after = {path.name: path.read_bytes() for path in tmp_path.glob("*.*")}
    assert after == before | {n: c for n, c in after.items() if n.startswith("plan-")}
    changed = dataclasses.replace(suite, note="another plan")
    tables.write(changed, tmp_path)
    assert b",1+2," in (tmp_path / "runs.csv").read_bytes()
    # The old tables' own schema is found where they stand, too.
    assert tables.found_schema(suite, tmp_path) == 2


def test_tables_of_two_schemas_differ_in_nothing(finished, tmp_path):
    suite, results = finished
    as_released_in_schema_1(suite, results, tmp_path)
    tables.write(suite, results)
    said = compare(tmp_path, results)
    assert said == f"{len(suite.runs)} of {len(suite.runs)} shared rows are equal" + (
        " in every column but timing"
    )
    moved_text = moved("test", "2.0.0", results, tmp_path)
    assert "0 of their means moved" in moved_text
    assert "Gone" not in moved_text


def test_a_method_without_a_tuned_recipe_beside_tuned_ones_is_told(finished, tmp_path):
    suite, results = finished
    beside = dataclasses.replace(suite, untuned=("nfe",))
    assert beside.digest == suite.digest
    shutil.copytree(results / "runs", tmp_path / "runs")
    tables.write(beside, tmp_path)
    rows = read(tmp_path / "runs.csv")
    assert {row["untuned"] for row in rows if row["method"] == "nfe"} == {"true"}
    assert {row["untuned"] for row in rows if row["method"] != "nfe"} == {"false"}
    summary = read(tmp_path / "summary.csv")
    assert all((row["untuned"] == "true") == (row["method"] == "nfe") for row in summary)
    text = (tmp_path / "summary.md").read_text()
    for line in text.splitlines():
        if line.startswith(("| nfe ", "| single ", "| deep_ensemble ")):
            assert ("recipe not tuned" in line) == line.startswith("| nfe "), line
    # The process that makes the tables has the plan alone.
    plan = load_plan(tmp_path / f"plan-{suite.digest}.json")
    assert plan.untuned == ("nfe",)
    assert "untuned" not in suite.record()


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
    assert text("exit_stages", [1, 2]) == "1+2"
    assert text("exit_stages", [1, 2], schema=1) == "1/2"
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
    write_csv(tmp_path / "runs.csv", tuple(rows[0]), rows)
    figure = accuracy_vs_flops.draw(read_material(tmp_path / "runs.csv", ["headline"]))
    (mark,) = [drawn for drawn in figure.axes[0].containers if drawn.lines[0]]
    assert mark.lines[0].get_xdata() == [4000]
    assert mark.lines[0].get_ydata() == [statistics.fmean(float(r["accuracy"]) for r in rows)]
