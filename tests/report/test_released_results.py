"""What the released tables must show, whatever the numbers: every method learns and gains."""

from pathlib import Path

import pandas as pd
import pytest
from conftest import ROOT

from nfe.method import method_names

OURS = {name.stem for name in (ROOT / "docs" / "methods").glob("*.md")}
# Suites of every method, but for those that quick's limit of 80 runs leaves no room for.
EVERY_METHOD = {"quick": {"multi_swag", "partially_masked"}, "digits-wrn-10-2": set[str]()}
SUITES = sorted(path.stem for path in (ROOT / "config").glob("*.yaml"))


def runs(suite: str) -> pd.DataFrame:
    path: Path = ROOT / "results" / suite / "runs.csv"
    if not path.exists():
        pytest.skip(f"suite {suite} is not released")
    return pd.read_csv(path)


@pytest.mark.parametrize("suite", SUITES)
def test_every_row_is_a_run_that_is_there_and_ended(suite: str) -> None:
    table = runs(suite)
    assert table["run"].is_unique
    assert set(table["status"]) <= {"ok", "failed", "collapsed"}
    folders = {path.name for path in (ROOT / "results" / suite / "runs").iterdir()}
    assert folders == set(table["run"])


@pytest.mark.parametrize("suite", EVERY_METHOD)
def test_every_method_learns(suite: str) -> None:
    headline = runs(suite).query("groups.str.contains('headline')")
    assert set(headline["method"]) | EVERY_METHOD[suite] == OURS & set(method_names())
    assert headline["accuracy"].min() > 75


def test_no_headline_ensemble_is_worse_than_its_mean_member() -> None:
    """Means over seeds; single runs may lie some images below, see docs/protocols.md."""
    table = runs("quick").query("members > 1 and groups.str.contains('headline')")
    members = table["member_accuracy"].str.split("/", expand=True).astype(float)
    gain = table["accuracy"] - members.mean(axis=1)
    by_setting = gain.groupby([table["method"], table["members"]]).agg(["mean", "count"])
    # Columns hold four decimals.
    assert by_setting.query("count > 1")["mean"].min() > -1e-3
    assert gain.min() > -0.5
