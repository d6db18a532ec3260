"""On what and with what a run was made."""

import os
import platform
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

_LIBRARIES = ("torch", "torchvision", "numpy", "scipy", "scikit-learn", "safetensors")


def device_name(device: torch.device) -> str:
    """Return the model name of the device, for instance ``NVIDIA H100 80GB HBM3``."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return platform.processor() or platform.machine()
    models = [line.split(":", 1)[1].strip() for line in text.splitlines() if "model name" in line]
    return models[0] if models else platform.machine()


def code_version() -> dict[str, Any]:
    """Return the package version and, in a git checkout, the commit and whether it is changed.

    Only source folders count as changes: results written by a run do not make its code dirty.
    A copy of a commit's files is told which one by the variable NFE_BENCH_COMMIT: it has no git,
    or one that knows of another commit.
    """
    record: dict[str, Any] = {"version": version("nfe-bench"), "commit": None, "modified": None}
    if told := os.environ.get("NFE_BENCH_COMMIT"):
        return record | {"commit": told}
    root = Path(__file__).resolve().parents[2]

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(root), *arguments]
        return subprocess.run(
            command, capture_output=True, encoding="utf-8", errors="replace", check=True
        ).stdout.strip()

    try:
        if Path(git("rev-parse", "--show-toplevel")).resolve() == root:
            record["commit"] = git("rev-parse", "HEAD")
            record["modified"] = bool(git("status", "--porcelain", "--", "nfe", "baselines"))
    except (OSError, subprocess.CalledProcessError):
        pass
    return record


def environment(device: torch.device) -> dict[str, Any]:
    """Return the libraries, the hardware and the code that a run is made with."""
    return {
        "code": code_version(),
        "python": platform.python_version(),
        "libraries": {name: version(name) for name in _LIBRARIES},
        "system": platform.system(),
        "machine": platform.machine(),
        "cores": os.cpu_count(),
        "device_name": device_name(device),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "cuda": torch.version.cuda if device.type == "cuda" else None,
    }
