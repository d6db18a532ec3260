"""What planning a suite and starting a job take: python benchmarks/graph.py

CPU seconds and peak memory of ``snakemake -n`` on config/paper.yaml and on a made-up suite of
10,000 runs, of Snakemake on a workflow of one rule, and what a job's process takes besides
training. Medians of the turns; writes graph.json.
"""

import json
import os
import statistics
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from nfe.common.files import read_json, write_json
from nfe.engine.environment import environment
from nfe.suite.expansion import expand

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
TURNS = 3
RUNS = 10_000
MADE_UP: dict[str, Any] = {
    "suite": "made-up",
    "dataset": "digits",
    "architecture": "wrn-10-1",
    "epochs": 1,
    "seeds": RUNS,
    "groups": {"headline": [{"method": "single"}]},
}


def spent(command: list[str], folder: Path) -> tuple[float, float]:
    """Return the CPU seconds and the peak memory in MB of a command and what it started.

    Raises:
        RuntimeError: it failed.
    """
    child = os.fork()
    if not child:
        os.chdir(folder)
        silent = os.open(os.devnull, os.O_WRONLY)
        os.dup2(silent, 1)
        os.execv(command[0], command)
    _, status, usage = os.wait4(child, 0)
    if status:
        raise RuntimeError(f"{' '.join(command)}: status {status}")
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1000


def row(what: str, measure: Callable[[], tuple[float, float]]) -> dict[str, Any]:
    """Return the medians of the turns of one measurement."""
    turns = [measure() for _ in range(TURNS)]
    cpu, memory = (statistics.median(values) for values in zip(*turns, strict=True))
    found = {"what": what, "cpu_seconds": round(cpu, 1), "peak_mb": round(memory)}
    print(*found.values(), flush=True)
    return found


def planning(configuration: Path, scratch: Path) -> tuple[float, float]:
    """Return what a dry run takes whose results would stand in a folder of their own."""
    words = ["-m", "snakemake", "-n", "--quiet", "all", "--configfile", str(configuration)]
    output = ["--config", f"output={scratch}"]
    return spent([sys.executable, *words, *output], ROOT)


def smallest(scratch: Path) -> tuple[float, float]:
    """Return what Snakemake takes for one rule that makes one file."""
    (scratch / "Snakefile").write_text("rule all:\n    output: 'x'\n", encoding="utf-8")
    return spent([sys.executable, "-m", "snakemake", "-n", "--quiet", "all"], scratch)


def job(scratch: Path) -> tuple[float, float]:
    """Return what a job's process takes besides training a run of one epoch, on one thread."""
    suite = expand({**MADE_UP, "seeds": 1})
    name = suite.runs[0].run.name
    with tempfile.TemporaryDirectory(dir=scratch) as folder:
        plan = Path(folder) / "plan.json"
        write_json(plan, suite.record())
        words = ["-m", "nfe", "run", "--plan", str(plan), "--root", folder, "--run", name]
        cpu, memory = spent([sys.executable, *words], ROOT)
        timing = read_json(Path(folder) / "results" / "made-up" / "runs" / name / "timing.json")
    return cpu - timing["train_seconds"], memory


def main() -> None:
    """Measure, print and write."""
    with tempfile.TemporaryDirectory(prefix="nfe-graph-") as folder:
        scratch = Path(folder)
        large = scratch / "large.yaml"
        large.write_text(json.dumps(MADE_UP), encoding="utf-8")
        rows = [
            row("snakemake, one rule", lambda: smallest(scratch)),
            row("a job besides its training", lambda: job(scratch)),
            row("config/paper.yaml", lambda: planning(ROOT / "config" / "paper.yaml", scratch)),
            row(f"{RUNS} runs", lambda: planning(large, scratch)),
        ]
    record = {"rows": rows, "environment": environment(torch.device("cpu"))}
    write_json(HERE / "graph.json", record)


if __name__ == "__main__":
    main()
