"""The paper suite's graph, and its rehearsal, with real Snakemake."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest

from nfe.cli import main
from nfe.report.catalogue import FIGURES, FORMATS

ROOT = Path(__file__).resolve().parents[1]

pytestmark = pytest.mark.slow


def snakemake(suite: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
    config = ("--configfile", f"config/{suite}.yaml")
    return subprocess.run(
        [sys.executable, "-m", "snakemake", "--cores", "2", *arguments, *config],
        cwd=ROOT,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        check=False,
    )


def test_the_graph_is_planned_in_30_seconds_and_1_gib() -> None:
    """Of processor time: how long it takes depends on what else the machine does."""
    said = ROOT / "logs" / "paper-graph.txt"
    said.parent.mkdir(exist_ok=True)
    command = [sys.executable, "-m", "snakemake", "--configfile", "config/paper.yaml", "-n", "-q"]
    with open(said, "w") as file:
        process = subprocess.Popen(command, cwd=ROOT, stdout=file, stderr=file)
        _, status, used = os.wait4(process.pid, 0)
    assert status == 0, said.read_text()
    assert used.ru_utime + used.ru_stime < 30
    assert used.ru_maxrss < 2**20
    said.unlink()


def test_the_rehearsal_goes_through_to_every_figure_and_table(tmp_path: Path) -> None:
    """With one epoch and one seed; from its tables on, as if it were the paper suite."""
    started = time.time()
    overrides = ("epochs=1", "seeds=1", f"output={tmp_path}")
    done = snakemake("paper-rehearsal", "--config", *overrides)
    assert done.returncode == 0, done.stdout[-3000:]
    results = tmp_path / "results" / "paper-rehearsal"
    runs = pd.read_csv(results / "runs.csv")
    assert set(runs["status"]) == {"ok", "collapsed"}
    drawn = {path.name for path in (tmp_path / "figures" / "paper-rehearsal").iterdir()}
    assert drawn == {f"{name}.{kind}" for name in FIGURES for kind in FORMATS}
    assert all(path.stat().st_mtime > started for path in results.glob("*.csv"))
    assert main(["verify", str(results)]) == 0
