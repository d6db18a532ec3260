"""What choosing the best test epoch would have added, from real audited runs."""

import csv

import pandas as pd
import pytest

from nfe.common.files import read_json
from nfe.engine.runner import RunFolders, Worker, execute
from nfe.report import tables
from nfe.report.release import model_card
from nfe.suite.expansion import expand

AUDITED = {"method": "single", "audit": True, "seeds": 3}
CONFIG = {
    "suite": "audited",
    "dataset": "digits",
    "architecture": "wrn-10-1",
    "epochs": 4,
    "seeds": 1,
    "recipe": {"batch_size": 128, "lr": 1.0},
    "groups": {
        "headline": [AUDITED, {"method": "deep_ensemble", "audit": True}, {"method": "single"}]
    },
}


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    root = tmp_path_factory.mktemp("audited")
    suite = expand(CONFIG)
    runs, artifacts, worker = root / "results" / "runs", root / "artifacts", Worker()
    for run in (planned.run for planned in suite.runs):
        execute(run, RunFolders(runs / run.name, artifacts / run.name, runs, artifacts), worker)
    tables.write(suite, root / "results")
    return root / "results"


def test_the_choice_is_measured_and_nothing_is_chosen(results):
    """Against pandas; only the setting that was audited and trains has a row."""
    runs = pd.read_csv(results / "runs.csv")
    audited = runs.query("audit and method == 'single' and groups == 'headline'")
    curves = [pd.read_csv(results / "runs" / run / "history.csv") for run in audited["run"]]
    test = pd.concat([curve["test_accuracy"] for curve in curves], axis=1)
    with open(results / "selection.csv", newline="") as file:
        (row,) = csv.DictReader(file)
    assert (row["method"], row["seeds"], row["epochs"]) == ("single", "3", "4")
    added = test.max() - test.iloc[-1]
    assert float(row["added_mean"]) == pytest.approx(added.mean(), abs=1e-4)
    assert float(row["added_std"]) == pytest.approx(added.std(), abs=1e-4)
    assert float(row["best_mean"]) == pytest.approx(test.max().mean(), abs=1e-4)
    assert float(row["best_epoch_mean"]) == pytest.approx((test.idxmax() + 1).mean(), abs=1e-4)
    # Reported is the last epoch, whatever came before it.
    assert float(row["last_mean"]) == pytest.approx(audited["accuracy"].mean(), abs=1e-3)
    assert added.max() > 0


def test_watching_the_test_split_changes_no_run(results):
    runs = pd.read_csv(results / "runs.csv").query("method == 'single' and seed == 0")
    watched, unwatched = (runs[runs["audit"] == value] for value in (True, False))
    assert watched["accuracy"].tolist() == unwatched["accuracy"].tolist()
    assert watched["nll"].tolist() == unwatched["nll"].tolist()


def test_a_card_says_when_the_test_split_was_looked_at(results):
    suite = expand(CONFIG)
    told = {}
    for run in (planned.run for planned in suite.runs if planned.run.method == "single"):
        metrics = read_json(results / "runs" / run.name / "metrics.json")
        told.setdefault(run.audit, set()).add(
            "evaluated once" in model_card.card(suite, run, results, metrics)
        )
    assert told == {True: {False}, False: {True}}
