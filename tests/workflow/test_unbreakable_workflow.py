"""A suite whose jobs are killed at random ends with the tables of a calm one."""

import csv
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from nfe.report.schema import TIMING

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
KILLS = 5
TABLE = Path("results", "tiny", "runs.csv")

SUITE = {
    "suite": "tiny",
    "dataset": "digits",
    "architecture": "wrn-10-1",
    "epochs": 8,
    "seeds": 1,
    "runs_per_process": 2,
    "checkpoint_seconds": 0.01,
    "groups": {
        "headline": [
            {"method": "single"},
            {"method": "deep_ensemble", "members": 2},
            {"method": "nfe", "exits": 2, "pruning": "snip", "sparsity": 0.5},
        ]
    },
}


def begin(folder: Path) -> subprocess.Popen[str]:
    """Start Snakemake on a copy of the workflow; a killed job is tried again."""
    for name in ("Snakefile", "workflow", "profiles", "config"):
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, folder / name)
    (folder / "suite.yaml").write_text(yaml.safe_dump(SUITE))
    command = [sys.executable, "-m", "snakemake", "--cores", "2", "--retries", str(KILLS)]
    return subprocess.Popen(
        [*command, "--configfile", "suite.yaml", "--", str(TABLE)],
        cwd=folder,
        stdout=(folder / "said").open("w"),
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def training(folder: Path) -> list[int]:
    """Return the processes that make runs of this copy's suite."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_bytes().split(b"\0")
            here = (process / "cwd").resolve() == folder.resolve()
        except OSError:
            continue  # it has ended meanwhile
        if here and words[1:4] == [b"-m", b"nfe", b"run"]:
            found.append(int(process.name))
    return found


def saved(folder: Path) -> int:
    """Return how many states of unfinished runs stand on disk."""
    return len(list(folder.glob("results/tiny/runs/*/.state/step-*")))


def kill_at_random(folder: Path, snakemake: subprocess.Popen[str]) -> int:
    """Kill training processes at random moments; return how many."""
    draws, killed = random.Random(0), 0
    while killed < KILLS and snakemake.poll() is None:
        time.sleep(draws.uniform(0.2, 0.8))
        jobs = training(folder)
        if jobs and saved(folder):
            os.kill(draws.choice(jobs), signal.SIGKILL)
            killed += 1
            # The retry must come as far as a state of its own, or nothing ever ends.
            time.sleep(1)
    return killed


def table(folder: Path) -> list[dict[str, str]]:
    """Return the rows of a suite's table, without the columns that a repetition may change."""
    with open(folder / TABLE, newline="") as file:
        return [{k: v for k, v in row.items() if k not in TIMING} for row in csv.DictReader(file)]


def test_a_suite_with_killed_jobs_ends_with_the_same_table(tmp_path):
    calm, stormy = tmp_path / "calm", tmp_path / "stormy"
    for folder in (calm, stormy):
        folder.mkdir()
    first, second = begin(calm), begin(stormy)
    killed = kill_at_random(stormy, second)
    for folder, process in ((calm, first), (stormy, second)):
        assert process.wait(timeout=600) == 0, (folder / "said").read_text()
    assert killed == KILLS
    logs = "".join(path.read_text() for path in stormy.glob("logs/tiny/*.log"))
    assert "resumed from epoch" in logs
    assert len(table(calm)) > len(SUITE["groups"]["headline"])
    assert table(calm) == table(stormy)
