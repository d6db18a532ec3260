"""A suite whose jobs run in a container, with stand-ins for SLURM's tools and for apptainer."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from conftest import ROOT
from standin import apptainer
from test_workflow import Checkout

from nfe.cluster import container

MODEL = "nvidia_a100-sxm4-80gb"
CONFIG = {
    "suite": "tiny",
    "dataset": "digits",
    "architecture": "wrn-10-1",
    "epochs": 1,
    "seeds": 1,
    "gpus": 1,
    "latency": [],
    "groups": {"further": [{"method": "single"}]},
}
TOOLS = {
    # A job runs while it is submitted.
    "sbatch": 'printf "%s\\n" "$@" > {tools}/asked; bash >&2 && echo 17',
    "srun": 'while [ "$1" != bash ]; do shift; done; exec "$@"',
    "squeue": "echo '17|COMPLETED|job|rule|/'",
    **dict.fromkeys(("sacct", "sacctmgr", "scancel", "scontrol", "sinfo", "sshare"), "exit 0"),
}


@pytest.mark.slow
def test_a_job_runs_in_the_image_and_sees_its_data(tmp_path: Path) -> None:
    """The data are a link to another disk; the GPU's model has a hyphen."""
    tools = apptainer(tmp_path, "apptainer")
    for name, does in TOOLS.items():
        (tools / name).write_text(f"#!/bin/bash\n{does.format(tools=tools)}\n", encoding="utf-8")
        (tools / name).chmod(0o755)
    (tmp_path / "work").mkdir()
    (tmp_path / "disk").mkdir()
    checkout = Checkout(tmp_path / "work")
    shutil.copytree(ROOT / "slurm", checkout.folder / "slurm")
    (checkout.folder / "suite.yaml").write_text(yaml.safe_dump(CONFIG))
    (checkout.folder / "data").symlink_to(tmp_path / "disk")
    settings = {"PARTITION": "gpu", "ACCOUNT": "a", "GPU_MODEL": MODEL, "CONTAINER": "nfe.sif"}
    command = [
        sys.executable,
        "-m",
        "snakemake",
        "--configfile",
        "suite.yaml",
        "--profile",
        "slurm",
    ]
    soon = ["--retries", "0", "--nfe-slurm-init-seconds-before-status-checks", "1"]
    done = subprocess.run(
        [*command, *soon],
        cwd=checkout.folder,
        env={
            **os.environ,
            "PATH": f"{tools}{os.pathsep}{os.environ['PATH']}",
            "NFE_ALLOW_CPU": "1",
            **{f"NFE_SLURM_{key}": value for key, value in settings.items()},
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert (checkout.folder / "results" / "tiny" / "index.html").exists()
    told = (tools / "told").read_text(encoding="utf-8").splitlines()
    image = told.index("nfe.sif")
    here = ["--bind", str(checkout.folder), "--pwd", str(checkout.folder)]
    assert told[:image] == ["exec", *here, "--bind", str(tmp_path / "disk")]
    assert told[image + 1 : image + 4] == [container.PYTHON, "-m", "nfe"]
    assert f"--gpus={MODEL}:1" in (tools / "asked").read_text(encoding="utf-8").splitlines()
