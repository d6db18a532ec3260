"""Every speed target on one NVIDIA GPU, measured: python benchmarks/gpu.py

Needs an otherwise idle GPU; about half an hour. Writes benchmarks/gpu_<device>.csv, one row a
question: engine against the common recipe (ResNet18 and WRN-28-10 at 32×32, single and N = 3,
with and without deterministic algorithms), the GPU's busy share of an epoch, peak memory of
N = 3 against the single network's, and the throughput of several WRN-16-2 runs at once (in
processes that share the GPU) against one.
"""

import json
import os
import re
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch
from common_recipe import CommonRecipe

from nfe.engine.environment import device_name, environment
from nfe.engine.files import write_csv, write_json
from nfe.engine.run import Run, specify
from nfe.engine.throughput import Meter, images_per_second

FOLDER = Path(__file__).parent
DEVICE = torch.device("cuda")
BATCH, PIXELS, ROUNDS, SECONDS = 128, 32, 5, 10.0
TARGETS = {"resnet18": 5.0, "wrn-28-10": 3.0}
PRECISIONS = ("float32", "bfloat16", "bfloat16-fast")
SEVERAL, SMALL = 4, "wrn-16-2"
COLUMNS = ("question", "architecture", "exits", "precision", "value", "unit", "target")


def run_of(architecture: str, exits: int, precision: str) -> Run:
    """Return the run that is measured."""
    return specify(
        dataset="digits",
        architecture_name=architecture,
        method="single" if exits == 1 else "nfe",
        settings={} if exits == 1 else {"exits": exits},
        epochs=1,
        precision=precision,
    )


def common(architecture: str, exits: int) -> dict[str, float]:
    """Measure the common recipe as PyTorch comes: a loader worker for each core, TF32 in cuDNN."""
    images = torch.randint(0, 256, (50_000, 3, PIXELS, PIXELS), dtype=torch.uint8)
    workers = min(16, os.cpu_count() or 1)
    recipe = CommonRecipe(architecture, exits, images, BATCH, DEVICE, workers)
    for _ in range(4 * workers):
        recipe.step()
    rates = [images_per_second(recipe.step, BATCH, DEVICE, SECONDS) for _ in range(ROUNDS)]
    return {"images_per_second": statistics.median(rates)}


def engine(architecture: str, exits: int, precision: str) -> dict[str, float]:
    """Measure the engine: rate, peak memory, and the share of time in which the GPU computes."""
    meter = Meter(run_of(architecture, exits, precision), BATCH, PIXELS, warm_up=50)
    torch.cuda.reset_peak_memory_stats()
    rates = [meter.rate(SECONDS) for _ in range(ROUNDS)]
    memory = torch.cuda.max_memory_allocated()
    return {
        "images_per_second": statistics.median(rates),
        "peak_memory_bytes": memory,
        "busy": busy_share(meter, statistics.median(rates)),
    }


def busy_share(meter: Meter, rate: float, steps: int = 100) -> float:
    """Return the GPU's seconds of kernels per step over the unprofiled seconds of a step."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profiled:
        for _ in range(steps):
            meter.step()
        torch.cuda.synchronize()
    kernels = sum(event.self_device_time_total for event in profiled.key_averages()) / 1e6
    return kernels / steps / (BATCH / rate)


def apart(kind: str, *arguments: str) -> subprocess.Popen[str]:
    """Start one measurement in a process of its own, so that memory and caches are its own."""
    return subprocess.Popen(
        [sys.executable, __file__, kind, *arguments], stdout=subprocess.PIPE, text=True
    )


def result(process: subprocess.Popen[str]) -> dict[str, float]:
    """Wait for a measurement and return what it found."""
    said, _ = process.communicate()
    if process.returncode:
        raise SystemExit(f"{process.args}: failed")
    found: dict[str, float] = json.loads(said.splitlines()[-1])
    return found


def compare(architecture: str, target: float) -> list[dict[str, Any]]:
    """Return the rows of one architecture."""
    rows: list[dict[str, Any]] = []
    memory: dict[tuple[int, str], float] = {}
    for exits in (1, 3):
        base = result(apart("common", architecture, str(exits)))["images_per_second"]
        place = {"architecture": architecture, "exits": exits}
        rows.append({"question": "common recipe", **place, "value": base, "unit": "images/s"})
        for precision in PRECISIONS:
            found = result(apart("engine", architecture, str(exits), precision))
            memory[exits, precision] = found["peak_memory_bytes"]
            rate = found["images_per_second"]
            at = {**place, "precision": precision}
            rows += [
                {"question": "engine", **at, "value": rate, "unit": "images/s"},
                {"question": "speed-up", **at, "value": rate / base, "target": f">= {target}"},
                {"question": "busy share", **at, "value": found["busy"], "target": ">= 0.9"},
            ]
    for precision in PRECISIONS:
        ratio = memory[3, precision] / memory[1, precision]
        at = {"architecture": architecture, "exits": 3, "precision": precision}
        rows.append(
            {"question": "peak memory, N = 3 to single", **at, "value": ratio, "target": "<= 1.7"}
        )
    return rows


def several() -> list[dict[str, Any]]:
    """Return the rows on several runs at once."""
    rows: list[dict[str, Any]] = []
    for precision in PRECISIONS:
        arguments = ("engine", SMALL, "1", precision)
        one = result(apart(*arguments))["images_per_second"]
        started = [apart(*arguments) for _ in range(SEVERAL)]
        together = sum(result(process)["images_per_second"] for process in started)
        at = {"architecture": SMALL, "exits": 1, "precision": precision}
        rows += [
            {"question": "one run", **at, "value": one, "unit": "images/s"},
            {"question": f"{SEVERAL} runs at once", **at, "value": together, "unit": "images/s"},
            {"question": "gain", **at, "value": together / one, "target": ">= 2"},
        ]
    return rows


def main() -> None:
    """Measure everything and write the table."""
    if not torch.cuda.is_available():
        raise SystemExit("no NVIDIA GPU here")
    rows = [row for name, target in TARGETS.items() for row in compare(name, target)]
    rows += several()
    name = re.sub(r"[^A-Za-z0-9]+", "-", device_name(DEVICE)).strip("-").lower()
    target = FOLDER / f"gpu_{name}.csv"
    write_csv(target, COLUMNS, rows)
    write_json(target.with_suffix(".json"), {"environment": environment(DEVICE)})
    print(target.read_text(encoding="utf-8"), end="")


if __name__ == "__main__":
    if len(sys.argv) == 1:
        main()
    else:
        kind, architecture, exits, *rest = sys.argv[1:]
        print(
            json.dumps({"common": common, "engine": engine}[kind](architecture, int(exits), *rest))
        )
