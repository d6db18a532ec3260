"""Which comparisons are corrected together is fixed by the suite, whatever is asked for."""

import csv
import json
from pathlib import Path

import pytest
from conftest import ROOT

from nfe.cli.main import main
from nfe.report import comparison, families
from nfe.report.statistics import holm
from nfe.report.tables import read_settings

POWER = ROOT / "results" / "tiny-imagenet-20"


def asked(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[dict[str, object]]:
    assert main(["compare", *arguments, "--json"]) == 0
    found: list[dict[str, object]] = json.loads(capsys.readouterr().out)
    return found


def table(results: Path) -> dict[tuple[str, str, str], dict[str, str]]:
    with open(results / "comparisons.csv", newline="") as file:
        return {(r["setting"], r["baseline"], r["metric"]): r for r in csv.DictReader(file)}


@pytest.mark.parametrize(
    "words",
    [("nfe", "deep_ensemble"), ("mimo", "deep_ensemble"), ("--baseline", "deep_ensemble")],
)
def test_p_is_that_of_the_table_however_little_is_asked(
    words: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    results = ROOT / "results" / "tiny-imagenet-cpu"
    known = table(results)
    records = asked(capsys, str(results), *words)
    assert records
    for record in records:
        row = known[str(record["setting"]), str(record["baseline"]), str(record["metric"])]
        assert f"{record['p_holm']:.6f}" == row["p_holm"]
        assert (str(record["family"]), record["kind"]) == (row["family"], families.BASELINE)


def test_the_stated_family_counts_for_its_comparisons(capsys: pytest.CaptureFixture[str]) -> None:
    with open(ROOT / "benchmarks" / "families_tiny-imagenet-20.csv", newline="") as file:
        stated = [r for r in csv.DictReader(file) if r["question"] == "confirmatory"]
    raw = holm([float(row["p_value"]) for row in stated])
    wanted = {(r["setting"], r["baseline"]): p for r, p in zip(stated, raw, strict=True)}
    records = asked(capsys, str(POWER), "nfe", "deep_ensemble")
    found = {
        (str(r["setting"]), str(r["baseline"])): r
        for r in records
        if r["kind"] == families.CONFIRMATORY
    }
    assert {pair for pair in wanted if pair[1] == "deep_ensemble, M 3"} == found.keys()
    for pair, record in found.items():
        assert (record["metric"], record["family"]) == ("accuracy", len(stated))
        assert record["p_holm"] == pytest.approx(wanted[pair], abs=1e-5)


def test_what_the_suite_does_not_compare_is_exploratory(capsys: pytest.CaptureFixture[str]) -> None:
    results = str(ROOT / "results" / "quick")
    for record in asked(capsys, results, "nfe", "mimo"):
        assert (record["p_holm"], record["family"]) == (None, None)
        assert record["kind"] == families.EXPLORATORY
    assert main(["compare", results, "nfe", "mimo"]) == 0
    assert "exploratory: none of the suite's own comparisons" in capsys.readouterr().out


def test_a_family_with_a_run_missing_is_not_the_one_that_was_stated() -> None:
    settings = read_settings(POWER)
    pairs = comparison.pairs_of(settings, ["nfe"], ["narrow_ensemble"], "confirmatory-3")
    kinds = {r["kind"] for r in families.rows(settings, pairs, POWER)}
    assert families.CONFIRMATORY in kinds
    settings = {k: v for k, v in settings.items() if k != "deep_ensemble, M 2"}
    kinds = {r["kind"] for r in families.rows(settings, pairs, POWER)}
    assert families.CONFIRMATORY not in kinds


def test_a_configuration_that_gives_another_plan_is_passed_over(tmp_path: Path) -> None:
    results = tmp_path / "results" / "tiny-imagenet-20"
    results.mkdir(parents=True)
    assert families.suite_of(results) is None
    (plan,) = POWER.glob("plan-*.json")
    told = json.loads(plan.read_text(encoding="utf-8"))
    assert told.pop("confirmatory")
    (results / plan.name).write_text(json.dumps(told), encoding="utf-8")
    assert families.suite_of(results).confirmatory is None
    config = tmp_path / "config" / "tiny-imagenet-20.yaml"
    config.parent.mkdir()
    config.write_text((ROOT / "config" / "quick.yaml").read_text())
    assert families.suite_of(results).name == "tiny-imagenet-20"
    config.write_text("no: suite\n")
    assert families.suite_of(results).name == "tiny-imagenet-20"
