"""The paper suite's graph, and its rehearsal, with real Snakemake."""

import os
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pandas as pd
import pytest

from nfe.cli.main import main
from nfe.report.catalogue import FORMATS, available
from nfe.suite.expansion import expand, read_config

ROOT = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.slow

MEASURED = """
import resource, subprocess, sys
subprocess.run([sys.executable, "-m", "snakemake", *sys.argv[1:]], check=True)
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(used.ru_utime + used.ru_stime, used.ru_maxrss)
"""


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
    # From a small process: a fork begins with its parent's peak.
    done = subprocess.run(
        [sys.executable, "-c", MEASURED, "--configfile", "config/paper.yaml", "-n", "-q"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    seconds, kilobytes = map(float, done.stdout.split()[-2:])
    assert seconds < 30
    assert kilobytes < 2**20


def test_what_is_said_of_the_suite_is_so() -> None:
    suite = expand(read_config(ROOT / "config" / "paper.yaml"))
    groups = Counter(group for planned in suite.runs for group in planned.groups)
    said = (ROOT / "docs" / "paper-suite.md").read_text()
    trained = sum(map(len, suite.chunks()))
    assert f"{len(suite.runs):,} runs, {trained:,} of which train" in said
    table = [row.split(" | ") for row in said.splitlines() if row.startswith("| ")]
    counts = {row[0].strip("| `"): row[2] for row in table if len(row) > 2 and row[2].isdigit()}
    assert counts == {group: str(count) for group, count in groups.items()}
    assert f"{trained:,} training jobs" in (ROOT / "docs" / "slurm.md").read_text()


def test_the_rehearsal_goes_through_to_every_figure_and_table(tmp_path: Path) -> None:
    """With two epochs and one seed; from its tables on, as if it were the paper suite."""
    started = time.time()
    # Prune and Tune needs a step for each of its phases.
    overrides = ("epochs=2", "seeds=1", f"output={tmp_path}")
    done = snakemake("paper-rehearsal", "--config", *overrides)
    assert done.returncode == 0, done.stdout[-3000:]
    results = tmp_path / "results" / "paper-rehearsal"
    runs = pd.read_csv(results / "runs.csv")
    assert set(runs["status"]) == {"ok", "collapsed"}
    drawn = {path.name for path in (tmp_path / "figures" / "paper-rehearsal").iterdir()}
    groups = set(read_config(ROOT / "config" / "paper-rehearsal.yaml")["groups"])
    assert drawn == {f"{name}.{kind}" for name in available(groups) for kind in FORMATS}
    assert all(path.stat().st_mtime > started for path in results.glob("*.csv"))
    assert main(["verify", str(results)]) == 0
