"""benchmarks/training_time.py: whose steps are timed once, and what a training takes of them."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from conftest import ROOT

from nfe.common.files import write_csv
from nfe.data.splits import held_out
from nfe.suite.run import Run, specify

sys.path.insert(0, str(ROOT / "benchmarks"))
import training_time as script

RESULTS = ROOT / "results" / "tiny-imagenet-20"


def run(method: str, epochs: int = 20, **settings: Any) -> Run:
    return specify(
        dataset="tiny-imagenet",
        resolution=32,
        num_classes=20,
        images_per_class=250,
        architecture_name="wrn-10-2",
        method=method,
        epochs=epochs,
        settings=settings,
    )


def test_steps_are_those_of_the_training_images() -> None:
    trained, _ = held_out(np.repeat(np.arange(20), 250))
    one = run("single")
    assert script.steps(one) == 20 * (len(trained) // one.recipe.batch_size)
    # Three teachers and a student.
    assert script.steps(run("hydra")) == 4 * script.steps(one)


def test_what_changes_no_step_is_timed_once() -> None:
    assert script.setting(run("nfe", distillation=1)) == script.setting(run("nfe", distillation=2))
    assert script.setting(run("single", 20)) == script.setting(run("single", 60))
    assert script.setting(run("nfe", exits=2)) != script.setting(run("nfe", exits=3))


def test_every_compared_training_has_its_seconds(tmp_path: Path) -> None:
    """With a step of a second for each setting, a training takes as many as it has steps."""
    rows = script.compared(RESULTS).rows
    names = {script.setting(each) for n in rows["run"] for each in script.trained(RESULTS, n)}
    table = tmp_path / "table.csv"
    plain = {"clock": "wall", "turns": 1, "ratio": 1, "ratio_quartile1": 1, "ratio_quartile3": 1}
    write_csv(
        table,
        script.COLUMNS,
        [{"setting": name, "milliseconds": 1000, **plain} for name in sorted(names)],
    )
    timed: pd.DataFrame = script.with_seconds(rows, RESULTS, table)
    seconds = timed.groupby(["method", "members", "epochs"])[script.SECONDS].agg(set)
    steps = 238 * 20 // int(rows["batch_size"].iloc[0])
    assert seconds["single", 1, 60] == {60 * steps}
    assert seconds["nfe", 3, 20] == {20 * steps}
    assert seconds["deep_ensemble", 3, 20] == {3 * 20 * steps}
    assert seconds["multi_swag", 9, 20] == {3 * 20 * steps}
    assert seconds["hydra", 3, 20] == {4 * 20 * steps}


def test_the_recorded_tables_have_every_compared_training() -> None:
    tables = sorted(script.FOLDER.glob(f"training_time_{RESULTS.name}_*.csv"))
    assert tables
    for table in tables:
        rows = script.with_seconds(script.compared(RESULTS).rows, RESULTS, table)
        single = rows.query("method == 'single' and epochs == 20")[script.SECONDS].unique().item()
        three = rows.query("method == 'deep_ensemble' and epochs == 20 and members == 3")
        assert three[script.SECONDS].unique().item() == 3 * single
        assert rows[script.SECONDS].min() > 0
