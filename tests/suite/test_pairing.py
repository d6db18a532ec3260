"""Comparisons that a suite asks for besides those of its headline."""

import copy
import csv
import json
import shutil

import pytest

from nfe.common.errors import InputError
from nfe.common.files import read_json
from nfe.engine.runner import RunFolders, Worker, execute
from nfe.report import tables
from nfe.report.release.verification import verify
from nfe.suite.expansion import expand, load_plan

CONFIG = {
    "suite": "asked",
    "dataset": "digits",
    "architecture": "wrn-10-1",
    "epochs": 1,
    "seeds": 2,
    "recipe": {"batch_size": 128},
    "groups": {
        "distillation": [{"method": "nfe", "exits": [2, 3], "distillation": [0, 1]}],
        "capacity": [
            {"method": ["single", "nfe"], "architecture": ["wrn-10-1", "wrn-10-2"]},
        ],
    },
    "comparisons": [
        {"group": "distillation", "baseline": {"distillation": 0}},
        {"group": "capacity", "baseline": {"method": "single"}},
    ],
}


def identities(suite):
    """Return what each compared pair of runs is."""
    runs = {planned.run.name: planned.run.identity() for planned in suite.runs}
    return [(runs[setting], runs[baseline]) for setting, baseline in suite.comparisons]


def changed(config, **changes):
    return {**copy.deepcopy(config), **changes}


def test_two_settings_that_differ_in_nothing_else_are_compared():
    found = identities(expand(CONFIG))
    distilled = [pair for pair in found if pair[1]["settings"].get("distillation") == 0]
    assert [a["settings"]["exits"] for a, _ in distilled] == [2, 3]
    for setting, baseline in distilled:
        assert setting["settings"] == baseline["settings"] | {"distillation": 1.0}
        assert setting | {"settings": None} == baseline | {"settings": None}
    wide = [pair for pair in found if pair not in distilled]
    assert [(a["architecture"], a["method"], b["method"]) for a, b in wide] == [
        ("wrn-10-1", "nfe", "single"),
        ("wrn-10-2", "nfe", "single"),
    ]
    assert all(a["architecture"] == b["architecture"] for a, b in wide)


def test_recipes_are_the_same_within_a_method_and_each_methods_own_across():
    lrs = {"batch_size": 128, "lr": [0.1, 0.3]}
    entries = [{"method": "nfe", "distillation": [0, 1], "recipe": lrs}]
    asked = [{"group": "g", "baseline": {"distillation": 0}}]
    found = identities(expand(changed(CONFIG, groups={"g": entries}, comparisons=asked)))
    assert [(a["recipe"]["lr"], b["recipe"]["lr"]) for a, b in found] == [(0.1, 0.1), (0.3, 0.3)]
    tuned = [{"method": "nfe"}, {"method": "single", "recipe": {"lr": 0.3}}]
    asked = [{"group": "g", "baseline": {"method": "single"}}]
    found = identities(expand(changed(CONFIG, groups={"g": tuned}, comparisons=asked)))
    assert [(a["recipe"]["lr"], b["recipe"]["lr"]) for a, b in found] == [(0.1, 0.3)]


def test_values_are_written_as_in_a_suite_and_several_keys_may_change():
    entries = [
        {"method": "nfe", "exits": 2, "ratio": ["0.3/0.7", "0.5/0.5"]},
        {"method": "nfe", "exits": 2, "pruning": "snip", "sparsity": [0.5, 0.8]},
    ]
    asked = [
        {"group": "g", "baseline": {"ratio": "0.5/0.5"}},
        {"group": "g", "baseline": {"pruning": "none", "sparsity": 0}},
    ]
    found = identities(expand(changed(CONFIG, groups={"g": entries}, comparisons=asked)))
    told = [(a["settings"]["ratio"], a["settings"]["sparsity"]) for a, _ in found]
    assert told == [([0.3, 0.7], 0.0), ([0.5, 0.5], 0.5), ([0.5, 0.5], 0.8)]
    assert all(b["settings"]["sparsity"] == 0 for _, b in found)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (
            {"group": "other", "baseline": {"method": "single"}},
            r"\(comparisons\) 'other'.*capacity",
        ),
        (
            {"group": "capacity", "baseline": {"exits": 5}},
            "group 'capacity' differ in nothing but exits: 5",
        ),
        (
            {"group": "capacity", "baseline": {"flavour": "sweet"}},
            "group 'capacity' differ in nothing but flavour: sweet",
        ),
        ({"group": "capacity"}, "comparisons/0: 'baseline' is a required property"),
    ],
)
def test_a_comparison_that_is_none_is_refused_before_anything_is_trained(asked, message):
    with pytest.raises(InputError, match=message):
        expand(changed(CONFIG, comparisons=[asked]))


def test_the_plan_holds_them_and_one_without_any_is_as_it_was(tmp_path):
    suite, plain = expand(CONFIG), expand(changed(CONFIG, comparisons=[]))
    assert suite.digest != plain.digest
    assert "comparisons" not in plain.record()
    alone = expand(changed(CONFIG, only="capacity"))
    assert len(alone.comparisons) == 2 and len(suite.comparisons) == 4
    (tmp_path / "plan.json").write_text(json.dumps(suite.record()))
    assert load_plan(tmp_path / "plan.json") == suite


def test_the_table_has_them_and_verify_recomputes_them(tmp_path):
    suite = expand(changed(CONFIG, only="capacity"))
    results, artifacts = tmp_path / "results" / "asked", tmp_path / "artifacts" / "asked"
    runs = results / "runs"
    for run in (planned.run for planned in suite.runs):
        execute(run, RunFolders(runs / run.name, artifacts / run.name, runs, artifacts), Worker())
    tables.write(suite, results)
    accuracy = accuracy_rows(results)
    assert list(accuracy) == ["wrn-10-1", "wrn-10-2"]
    for width, row in accuracy.items():
        of_nfe, of_single = (mean_accuracy(suite, runs, width, name) for name in ("nfe", "single"))
        assert float(row["difference"]) == pytest.approx(of_nfe - of_single, abs=1e-3)
        assert (row["seeds"], row["family"], row["paired"]) == ("2", "1", "true")
    assert verify(results).problems == []
    # Of what has not finished there is no row.
    for run in chosen(suite, "wrn-10-2", "single"):
        shutil.rmtree(runs / run.name)
    tables.write(suite, results, partial=True)
    assert list(accuracy_rows(results)) == ["wrn-10-1"]


def accuracy_rows(results):
    with open(results / "comparisons.csv", newline="") as file:
        return {r["architecture"]: r for r in csv.DictReader(file) if r["metric"] == "accuracy"}


def chosen(suite, width, method):
    runs = [planned.run for planned in suite.runs]
    return [run for run in runs if (run.architecture, run.method) == (width, method)]


def mean_accuracy(suite, runs, width, method):
    scores = [
        read_json(runs / run.name / "metrics.json")["accuracy"]
        for run in chosen(suite, width, method)
    ]
    return sum(scores) / len(scores)
