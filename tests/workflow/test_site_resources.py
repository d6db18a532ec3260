"""What training jobs ask for where the site says how large they are, as Snakemake prints it."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from test_workflow import Checkout

CONFIG = {
    "suite": "tiny",
    "dataset": "digits",
    "architecture": "wrn-10-1",
    "epochs": 1,
    "seeds": 5,
    "gpus": 1,
    "runs_per_process": 2,
    "latency": [],
    "groups": {"further": [{"method": "single"}]},
}


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    made = Checkout(tmp_path)
    (tmp_path / "suite.yaml").write_text(yaml.safe_dump(CONFIG))
    return made


def trainings(checkout: Checkout, **settings: str) -> list[dict[str, str]]:
    """Return the resources, threads and command of each training job, the largest first."""
    command = [sys.executable, "-m", "snakemake", "-n", "-p", "--cores", "8"]
    said = subprocess.run(
        [*command, "--configfile", "suite.yaml"],
        cwd=checkout.folder,
        env={**os.environ, **settings},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    found = []
    for job in said.split("\nrule train_")[1:]:
        asked = re.search(r"^    resources: (.*)$", job, re.MULTILINE)
        shell = re.search(r"^Shell command: (.*)$", job, re.MULTILINE)
        threads = re.search(r"^    threads: (.*)$", job, re.MULTILINE)
        assert asked and shell
        told = dict(pair.split("=", 1) for pair in asked[1].split(", "))
        runs = re.search(r"--run ([^>]*?) >>", shell[1])
        assert runs
        told |= {"threads": threads[1] if threads else "1", "command": shell[1]}
        found.append(told | {"runs": str(len(runs[1].split()))})
    return sorted(found, key=lambda job: -int(job["runs"]))


def test_a_job_asks_for_the_gpus_that_it_divides_its_runs_over(checkout):
    model = "nvidia_a100-sxm4-80gb"
    jobs = trainings(checkout, NFE_SLURM_GPUS_PER_JOB="4", NFE_SLURM_GPU_MODEL=model)
    assert {job["gpu_model"] for job in jobs} == {model}
    # Five runs by two: the last job has one run, and no use for a second GPU.
    assert [(job["runs"], job["gpu"]) for job in jobs] == [("2", "2"), ("2", "2"), ("1", "1")]
    assert "--workers 2 --devices 2 " in jobs[0]["command"]
    assert "--devices" not in jobs[2]["command"]
    assert jobs[0]["threads"] == "2"
    assert int(jobs[0]["mem_mb"]) == 2 * int(jobs[2]["mem_mb"])


def test_short_runs_share_a_job_up_to_the_target(checkout):
    (job,) = trainings(checkout, NFE_SLURM_TARGET_MINUTES="60")
    assert (job["runs"], job["gpu"]) == ("5", "1")
    # Of the only job of a suite, too, no GPU that it may have is left idle.
    (job,) = trainings(checkout, NFE_SLURM_TARGET_MINUTES="60", NFE_SLURM_GPUS_PER_JOB="4")
    assert (job["runs"], job["gpu"]) == ("5", "4")
