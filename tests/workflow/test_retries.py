"""A failing run is tried as often as its profile says, and as its time limit would cut it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from test_workflow import Checkout

from nfe.cluster import estimate
from nfe.suite.expansion import expand

LIMIT = 7
CONFIG = {
    "suite": "tiny",
    "dataset": "digits",
    "architecture": "wrn-10-1",
    "epochs": 200,
    "seeds": 1,
    "latency": [],
    "groups": {"further": [{"method": "single", "recipe": {"lr": 1e30}}]},
}


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    made = Checkout(tmp_path)
    (tmp_path / "suite.yaml").write_text(yaml.safe_dump(CONFIG))
    return made


def restarts(checkout: Checkout, *arguments: str) -> int:
    """Make the suite and return how often Snakemake has started its job again."""
    command = [sys.executable, "-m", "snakemake", "--cores", "1", "--configfile", "suite.yaml"]
    done = subprocess.run(
        [*command, *arguments],
        cwd=checkout.folder,
        env={**os.environ, "NFE_SLURM_MAX_MINUTES": str(LIMIT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "the loss is" in done.stdout
    return done.stdout.count("Trying to restart job")


@pytest.mark.slow
def test_what_the_limit_cuts_comes_on_top_of_the_retries(checkout):
    runs = [planned.run for planned in expand(CONFIG).runs]
    cuts = estimate.restarts(estimate.minutes(runs, 0), LIMIT)
    assert cuts >= 1
    assert restarts(checkout, "--retries", "1") == 1 + cuts
    assert restarts(checkout) == 0
