"""What the jobs of the paper suite ask for, as Snakemake prints it."""

import re
import subprocess
import sys

import pytest
from conftest import ROOT

from nfe.suite.expansion import expand, read_config

PAPER = "config/paper.yaml"


@pytest.fixture(scope="module")
def asked() -> dict[str, list[dict[str, str]]]:
    """Return each kind of job's resources and its shell command, one dictionary a job."""
    command = [sys.executable, "-m", "snakemake", "-n", "-p", "--cores", "1", "--configfile", PAPER]
    said = subprocess.run(
        [*command, "--config", "output=elsewhere"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    found: dict[str, list[dict[str, str]]] = {}
    for job in said.split("\nrule ")[1:]:
        resources = re.search(r"^    resources: (.*)$", job, re.MULTILINE)
        shell = re.search(r"^Shell command: (.*)$", job, re.MULTILINE)
        name = job.partition(":")[0]
        if resources and shell:
            pairs = (pair.partition("=") for pair in resources[1].split(", "))
            told = {name: value for name, _, value in pairs}
            kind = name.rpartition("_")[0] or name
            found.setdefault(kind, []).append(told | {"command": shell[1]})
    return found


def minutes(jobs: list[dict[str, str]]) -> list[int]:
    return sorted(int(job["runtime"]) for job in jobs)


def test_evaluations_ask_for_the_time_of_inference(asked):
    evaluations, trainings = minutes(asked["evaluate"]), minutes(asked["train"])
    assert evaluations[len(evaluations) // 2] < 120
    # Twelve runs' evaluation takes less than the longest one's training.
    assert max(evaluations) < max(trainings)
    assert {job["gpu"] for job in asked["evaluate"]} == {"1"}


def test_combinations_hold_no_gpu_and_share_jobs(asked):
    combined = expand(read_config(ROOT / PAPER)).combined()
    assert len(asked["combine"]) == -(-len(combined) // 12)
    assert not any("gpu" in job for job in asked["combine"])
    assert max(minutes(asked["combine"])) <= 10


@pytest.mark.parametrize("kind", ["train", "evaluate", "latency"])
def test_jobs_that_compute_ask_for_a_gpu_and_refuse_to_do_without(asked, kind):
    assert {job["gpu"] for job in asked[kind]} == {"1"}
    assert all(" -m nfe --gpus 1 " in job["command"] for job in asked[kind])


def test_jobs_that_combine_see_no_gpu_and_do_without(asked):
    assert all("CUDA_VISIBLE_DEVICES= " in job["command"] for job in asked["combine"])
    assert not any("--gpus" in job["command"] for job in asked["combine"])
