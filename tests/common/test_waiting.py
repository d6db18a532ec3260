"""Threads of our processes spin briefly while they wait, and a user's own choice stands."""

import os
import re
import subprocess
import sys

import pytest

# OpenMP tells what it has read when PyTorch loads it.
PROGRAM = "from nfe.cli.main import main; main(['list', 'methods']); import torch"


def told(**own: str) -> dict[str, str]:
    """What the OpenMP of a process of ours says of its settings."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("OMP_", "GOMP_"))}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env={**kept, "OMP_DISPLAY_ENV": "VERBOSE", **own},
        capture_output=True,
        text=True,
        check=True,
    )
    return dict(re.findall(r"(\w+) *= *'(\w*)'", done.stderr))


@pytest.mark.parametrize(
    ("own", "policy", "spins"),
    [
        ({}, "PASSIVE", "10000"),
        ({"OMP_WAIT_POLICY": "PASSIVE"}, "PASSIVE", "0"),
        ({"OMP_WAIT_POLICY": "ACTIVE"}, "ACTIVE", "30000000000"),
        ({"GOMP_SPINCOUNT": "300000"}, "PASSIVE", "300000"),
    ],
)
def test_threads_spin_briefly_unless_told_otherwise(
    own: dict[str, str], policy: str, spins: str
) -> None:
    said = told(**own)
    assert (said["OMP_WAIT_POLICY"], said["GOMP_SPINCOUNT"]) == (policy, spins)
