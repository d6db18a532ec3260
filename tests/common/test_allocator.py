"""Freed memory is kept: a step's blocks cost page faults once, not in every step."""

import subprocess
import sys

PROGRAM = """
import resource, sys
import torch
from nfe.common.precision import prepare_process

if sys.argv[1] == "kept":
    prepare_process(1, "float32")
pages = 64 * 2**20 // resource.getpagesize()


def step():
    torch.empty(64 * 2**20, dtype=torch.uint8).fill_(1)


# Aligned blocks move about at first.
for _ in range(20):
    step()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    step()
print((resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before) / pages)
"""


def faults(how: str) -> float:
    """Return the page faults of ten steps, in multiples of one step's pages."""
    command = [sys.executable, "-c", PROGRAM, how]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def test_a_steps_memory_is_asked_of_the_system_once() -> None:
    assert faults("by default") > 5
    assert faults("kept") < 1
