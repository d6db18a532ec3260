"""nfe-bench compare, on the released quick suite and on altered copies of its table."""

import csv
import json
import shutil

import numpy as np
import pytest
from conftest import ROOT

from nfe.cli.main import main
from nfe.common.errors import InputError
from nfe.common.files import csv_bytes, write_csv
from nfe.report import comparison, tables
from nfe.report.release import manifest
from nfe.report.release.verification import verify

QUICK = ROOT / "results" / "quick"


def quick_rows():
    with open(QUICK / "runs.csv", newline="") as file:
        return list(csv.DictReader(file))


# Headline settings but the baseline; with one seed nothing is tested.
SETTINGS = tables.by_label(quick_rows())
HEADLINE = comparison.in_group(SETTINGS, "headline")
OTHERS = len(HEADLINE) - 1
TESTED = sum(len(SETTINGS[name]) > 1 for name in HEADLINE) - 1


@pytest.fixture(scope="module")
def records():
    settings = tables.by_label(quick_rows())
    return comparison.rows(settings, comparison.headline_pairs(settings), QUICK / "runs")


def one(records, setting, baseline, metric):
    found = [
        r
        for r in records
        if r["setting"].startswith(setting)
        and r["baseline"].startswith(baseline)
        and r["metric"] == metric
    ]
    assert len(found) == 1
    return found[0]


def test_every_headline_setting_stands_against_both_baselines(records):
    methods = {row["method"] for row in quick_rows() if "headline" in row["groups"].split("/")}
    for baseline, other in (("single", "deep_ensemble"), ("deep_ensemble", "single")):
        against = {
            r["setting"].split(",")[0] for r in records if r["baseline"].startswith(baseline)
        }
        assert against == methods - {baseline}
        assert other in against
    assert {r["family"] for r in records} == {TESTED}
    tested = [r for r in records if r["seeds"] > 1]
    assert len(tested) == len({r["baseline"] for r in records}) * len(comparison.METRICS) * TESTED
    assert all(r["p_value"] <= r["p_holm"] <= 1 for r in tested)


def test_differences_are_those_of_the_means(records):
    rows = quick_rows()

    def mean(method, metric):
        chosen = [r for r in rows if r["method"] == method and r["groups"] == "headline"]
        return np.mean([float(r[metric]) for r in chosen])

    for metric in comparison.METRICS:
        record = one(records, "mimo", "deep_ensemble", metric)
        wanted = mean("mimo", metric) - mean("deep_ensemble", metric)
        assert record["difference"] == pytest.approx(wanted, abs=1e-9)
        middle = (record["ci95_low"] + record["ci95_high"]) / 2
        assert middle == pytest.approx(wanted, abs=1e-9)


def test_the_other_way_round_is_the_same_with_the_sign_turned(records):
    there = one(records, "single", "deep_ensemble", "nll")
    back = one(records, "deep_ensemble", "single", "nll")
    assert there["difference"] == pytest.approx(-back["difference"])
    assert there["ci95_low"] == pytest.approx(-back["ci95_high"])
    assert there["p_value"] == pytest.approx(back["p_value"])


def test_the_table_is_the_same_text_every_time(records):
    settings = tables.by_label(quick_rows())
    again = comparison.rows(settings, comparison.headline_pairs(settings), QUICK / "runs")
    texts = [csv_bytes(comparison.COLUMNS, comparison.cells(r)) for r in (records, again)]
    assert texts[0] == texts[1]


def altered(change):
    """Return mimo against single after a change to mimo's two rows."""
    rows = quick_rows()
    change([r for r in rows if r["method"] == "mimo"])
    settings = tables.by_label(rows)
    pairs = comparison.pairs_of(settings, ["mimo"], ["single"], "headline")
    return comparison.rows(settings, pairs, QUICK / "runs")


def test_a_lost_seed_is_counted_and_one_seed_has_no_p_value():
    record = one(altered(lambda rows: rows[1].update(status="collapsed")), "mimo", "", "accuracy")
    assert (record["seeds"], record["collapsed"], record["baseline_seeds"]) == (1, 1, 2)
    assert (record["covers"], record["p_value"], record["p_holm"]) == ("images", None, None)
    assert record["paired"] == "false"
    assert record["ci95_low"] < record["difference"] < record["ci95_high"]


def test_a_setting_without_finished_seeds_stands_there_empty():
    def fail(rows):
        for row in rows:
            row.update(status="failed")

    for record in altered(fail):
        assert (record["seeds"], record["failed"], record["difference"]) == (0, 2, None)
        assert "2 failed" in "\n".join(
            comparison.lines([record], {record["baseline"]: {record["metric"]: "1"}})
        )


def test_other_test_images_are_refused(tmp_path):
    rows = quick_rows()
    for row in rows:
        if row["method"] == "mimo":
            row["subset"] = "7-classes"
    settings = tables.by_label(rows)
    label = next(name for name in settings if "mimo" in name)
    pairs = comparison.pairs_of(settings, [label], ["single, M 1"], "headline")
    with pytest.raises(InputError, match="tested on other images: digits 8 7-classes"):
        comparison.rows(settings, pairs, QUICK / "runs")
    with pytest.raises(InputError, match="nothing to compare"):
        comparison.pairs_of(settings, ["mimo"], ["single"], "headline")
    write_csv(tmp_path / "runs.csv", tuple(rows[0]), rows)
    assert main(["compare", str(tmp_path), label, "single, M 1"]) == 2


def test_the_command_prints_what_it_compares(capsys):
    assert main(["compare", str(QUICK), "nfe", "mimo"]) == 0
    said = capsys.readouterr().out
    # Each of the four metrics has a row for weights divided one by one and one for alternating.
    assert said.count("nfe, M 2") == said.count("nfe, M 3") == 2 * 4
    assert "accuracy against mimo, M 3" in said
    assert "seeds+images: what other seeds and other test images would give" in said
    assert main(["compare", str(QUICK), "--baseline", "single", "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)) == 4 * OTHERS


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([str(QUICK), "nfee", "single"], "unknown setting 'nfee': did you mean 'nfe'?"),
        ([str(QUICK), "--group", "head"], "unknown group 'head': did you mean 'headline'?"),
        ([str(QUICK), "single", "single"], "nothing to compare"),
        (["results/nowhere"], "runs.csv: no such file"),
        ([], "a suite's results folder, or --run"),
        (["--run", "nothing", "nobody"], "nothing: no finished run"),
    ],
)
def test_what_cannot_be_compared_is_one_clear_line(arguments, message, capsys):
    assert main(["compare", *arguments]) == 2
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1


def test_two_models_are_compared_image_by_image(capsys):
    names = [r["run"] for r in quick_rows() if r["method"] in ("single", "mimo")][:2]
    folders = [str(QUICK / "runs" / name) for name in names]
    assert main(["compare", "--run", *folders, "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    correct = [np.load(f"{folder}/per_image.npz")["correct"] for folder in folders]
    assert record["only_first_correct"] == int((correct[0] & ~correct[1]).sum())
    gap = record["only_first_correct"] - record["only_second_correct"]
    assert record["accuracy"][0] - record["accuracy"][1] == pytest.approx(100 * gap / 1200)
    assert main(["compare", "--run", *folders]) == 0
    assert "not their methods" in capsys.readouterr().out


def test_a_table_that_is_younger_than_the_release_may_be_absent(tmp_path):
    results = tmp_path / "results" / "quick"
    shutil.copytree(QUICK, results)
    shutil.copytree(ROOT / "figures" / "quick", tmp_path / "figures" / "quick")
    frozen = results / "releases" / manifest.releases(results)[-1] / manifest.NAME
    content = json.loads(frozen.read_text())
    content["files"].pop("results/quick/comparisons.csv", None)
    frozen.write_text(json.dumps(content))
    (results / "comparisons.csv").unlink(missing_ok=True)

    def problems(**options):
        # Of the tables: today's page shows the comparisons, and so is stale without them.
        found = verify(results, **options).problems
        return [problem for problem in found if "index.html: stale" not in problem]

    assert problems() == []
    (problem,) = problems(released=False)
    assert problem == f"{results / 'comparisons.csv'}: no such file"
