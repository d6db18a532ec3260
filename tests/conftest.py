"""Shared helpers: runs and command lines as a user would make them."""

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).resolve().parents[1]
# Tests run side by side: what the others do would have latencies refused.
os.environ["NFE_ALLOW_LOAD"] = "1"

# Whose files take minutes each: begun last, one of them would leave the other cores idle.
LONG = ("workflow", "suite", "docs", "engine", "cluster", "benchmarks")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the folders whose files take longest first, in an order that every worker has."""
    folders = {folder: place for place, folder in enumerate(LONG)}
    items.sort(key=lambda item: folders.get(item.path.relative_to(ROOT).parts[1], len(LONG)))


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def start(*arguments: str, cwd: Path = ROOT) -> subprocess.Popen[str]:
    """Start nfe-bench in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "nfe", *arguments],
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


@pytest.fixture
def train() -> Callable[..., subprocess.Popen[str]]:
    """Start ``nfe-bench train`` on digits with the smallest backbone."""

    def begin(
        output: Path, method: str, *more: str, epochs: int = 3, seed: int = 0
    ) -> subprocess.Popen[str]:
        common = ["--dataset", "digits", "--architecture", "wrn-10-1", "--method", method]
        numbers = ["--epochs", str(epochs), "--seed", str(seed)]
        return start("train", *common, *numbers, "--output", str(output), *more)

    return begin


def finish(process: subprocess.Popen[str], expected: int = 0) -> str:
    """Wait for a process, check its exit status and return what it wrote to both streams."""
    out, err = process.communicate(timeout=300)
    assert process.returncode == expected, out + err
    return out + err


def same_files(first: Path, second: Path, names: Sequence[str]) -> bool:
    """Return whether the named files are equal byte for byte."""
    return all((first / n).read_bytes() == (second / n).read_bytes() for n in names)
