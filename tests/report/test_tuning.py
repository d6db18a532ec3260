"""Tuning: chosen on held-out NLL, over whole points of the grid, and read by suites."""

from pathlib import Path

import pandas as pd
import pytest
import yaml

from nfe.common.errors import InputError
from nfe.report.tuning import write
from nfe.suite.expansion import expand

FRAME = {"dataset": "digits", "resolution": 8, "architecture": "wrn-10-1", "epochs": 2}
TABLE = {**FRAME, "recipe": "{}"}


def table(path: Path, points: list[tuple[str, float, float, str, float, float]]) -> Path:
    names = ("method", "lr", "weight_decay", "status", "heldout_nll", "nll")
    rows = [{**TABLE, **dict(zip(names, point, strict=True))} for point in points]
    pd.DataFrame([{**row, "seed": number % 2} for number, row in enumerate(rows)]).to_csv(path)
    return path


def test_the_lowest_mean_heldout_nll_wins_whatever_the_test_says(tmp_path):
    points = [
        ("single", 0.1, 5e-4, "ok", 0.30, 0.01),
        ("single", 0.1, 5e-4, "ok", 0.30, 0.01),
        ("single", 0.3, 5e-4, "ok", 0.10, 0.90),
        ("single", 0.3, 5e-4, "ok", 0.20, 0.90),
        # One seed diverged: the point does not count, however good the other seed is.
        ("single", 0.9, 5e-4, "ok", 0.01, 0.01),
        ("single", 0.9, 5e-4, "failed", None, None),
        ("mimo", 0.1, 2e-3, "ok", 0.5, 0.5),
        ("mimo", 0.1, 2e-3, "ok", 0.5, 0.5),
    ]
    write(table(tmp_path / "runs.csv", points), tmp_path / "tuned.yaml")
    assert yaml.safe_load((tmp_path / "tuned.yaml").read_text()) == {
        "single": {"lr": 0.3, "weight_decay": 5e-4},
        "mimo": {"lr": 0.1, "weight_decay": 2e-3},
    }


def test_nothing_finished_is_refused(tmp_path):
    with pytest.raises(InputError, match="no run finished"):
        write(
            table(tmp_path / "runs.csv", [("single", 0.1, 5e-4, "failed", None, None)]),
            tmp_path / "t",
        )
    with pytest.raises(InputError, match="no such file"):
        write(tmp_path / "absent.csv", tmp_path / "t")


def test_suites_take_up_what_was_chosen(tmp_path):
    tuned = tmp_path / "tuned.yaml"
    tuned.write_text(yaml.safe_dump({"single": {"lr": 0.3}, "nfe": {"lr": 0.03}}))
    config = {
        "suite": "test",
        "dataset": "digits",
        "architecture": "wrn-10-1",
        "epochs": 2,
        "seeds": 1,
        "tuned": str(tuned),
        "groups": {
            "headline": [
                {"method": ["single", "deep_ensemble", "nfe", "mimo"]},
                {"method": "nfe", "protocol": "published"},
                {"method": "nfe", "exits": 2, "recipe": {"lr": 0.2}},
            ]
        },
    }
    runs = [p.run for p in expand(config).runs]
    found = {(r.method, r.protocol, r.settings.get("exits")): r.recipe.lr for r in runs}
    assert found == {
        ("single", "equal", None): 0.3,
        ("deep_ensemble", "equal", None): 0.3,
        ("nfe", "equal", 3): 0.03,
        ("mimo", "equal", None): 0.1,
        ("nfe", "published", 3): 0.1,
        ("nfe", "equal", 2): 0.2,
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nfee: {lr: 0.1}", "unknown method 'nfee': did you mean 'nfe'"),
        ("nfe: 3", "nfe is 3: allowed: a recipe"),
        ("nfe: {lrr: 0.1}", "unknown recipe 'lrr'"),
    ],
)
def test_tuned_recipes_of_no_method_or_no_recipe_are_refused(tmp_path, text, message):
    (tmp_path / "tuned.yaml").write_text(text)
    frame = {"suite": "test", "dataset": "digits", "architecture": "wrn-10-1", "epochs": 2}
    config = {"seeds": 1, "tuned": str(tmp_path / "tuned.yaml")}
    with pytest.raises(InputError, match=message):
        expand({**frame, **config, "groups": {"headline": [{"method": "nfe"}]}})


def test_no_method_is_offered_more_than_another():
    config = yaml.safe_load((Path(__file__).parents[2] / "config" / "tuning.yaml").read_text())
    runs = [p.run for p in expand(config).runs]
    grids = {}
    for run in runs:
        grids.setdefault(run.method, set()).add((run.recipe.lr, run.recipe.weight_decay))
    assert len(set(map(frozenset, grids.values()))) == 1
    assert len(grids) >= 10
