"""Our engine against the common recipe, side by side: python benchmarks/speed.py

Both train the same network on random images, taking turns in one process, at least five times
each; what a turn gives is images per second, data pipeline included, and images per second of
processor time, which tells more on a machine that others use too (loader workers' time is left
out of it, in the common recipe's favour). Writes benchmarks/speed_<device>.csv (one row a turn)
and .json (medians, ratios, start-up, measured peak, environment).
"""

import argparse
import itertools
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from common_recipe import CommonRecipe

from nfe.common.files import write_csv, write_json
from nfe.common.precision import default_device, fastest, usable_threads
from nfe.engine.environment import device_name, environment
from nfe.engine.throughput import Meter, images_per_second
from nfe.suite.run import specify

FOLDER = Path(__file__).parent
EXITS = (1, 3)
STARTUP = """
import time; start = time.perf_counter()
from nfe.suite.run import specify
from nfe.engine.throughput import Meter
run = specify(dataset="digits", architecture_name={architecture!r}, method={method!r}, epochs=1,
              settings={settings!r}, precision={precision!r}, threads={threads})
meter = Meter(run, {batch}, {pixels}, warm_up=1)
print(time.perf_counter() - start, time.process_time())
"""


class Ours:
    """The engine in one precision."""

    def __init__(self, options: argparse.Namespace, exits: int, precision: str) -> None:
        self._options = options
        self._meter = Meter(our_run(options, exits, precision), options.batch, options.image)

    def rate(self) -> float:
        """Return the images per second of one turn."""
        return self._meter.rate(self._options.seconds)


class Theirs:
    """The common recipe with some number of loader workers."""

    def __init__(self, options: argparse.Namespace, exits: int, workers: int) -> None:
        self._options, self._device, self._workers = options, default_device(), workers
        count = max(4096, 16 * options.batch)
        images = torch.randint(0, 256, (count, 3, options.image, options.image), dtype=torch.uint8)
        self._recipe = CommonRecipe(
            options.architecture, exits, images, options.batch, self._device, workers
        )
        for _ in range(3):
            self._recipe.step()

    def rate(self) -> float:
        """Return the images per second of one turn, in PyTorch's ordinary settings."""
        torch.set_num_threads(self._options.threads)
        torch.set_deterministic_debug_mode("default")
        torch.backends.cudnn.allow_tf32 = True
        options = self._options
        # What workers made while the other side had its turn is not counted.
        for _ in range(2 * self._workers):
            self._recipe.step()
        return images_per_second(self._recipe.step, options.batch, self._device, options.seconds)


def our_method(exits: int) -> tuple[str, dict[str, int]]:
    """Return the method that trains a network with so many exits, and its settings."""
    return ("single", {}) if exits == 1 else ("nfe", {"exits": exits})


def our_run(options: argparse.Namespace, exits: int, precision: str) -> Any:
    """Return the run that the engine is measured on."""
    method, settings = our_method(exits)
    return specify(
        dataset="digits",
        architecture_name=options.architecture,
        method=method,
        settings=settings,
        epochs=1,
        precision=precision,
        threads=options.threads,
    )


def startup(options: argparse.Namespace, exits: int) -> dict[str, float]:
    """Return the time from the first import to the end of the first step, best of three.

    ``seconds`` passed; ``processor_seconds`` of one core's work, the interpreter's included.
    """
    method, settings = our_method(exits)
    code = STARTUP.format(
        method=method,
        settings=settings,
        architecture=options.architecture,
        precision=options.precisions[-1],
        threads=options.threads,
        batch=options.batch,
        pixels=options.image,
    )
    command = [sys.executable, "-c", code]
    said = [subprocess.check_output(command, text=True).split() for _ in range(3)]
    best = [round(min(map(float, times)), 2) for times in zip(*said, strict=True)]
    return dict(zip(("seconds", "processor_seconds"), best, strict=True))


def peak(dtype: torch.dtype, device: torch.device) -> dict[str, float]:
    """Return GFLOP/s of a large matrix product and of a 3×3 convolution: best of ten."""
    side = 8192 if device.type == "cuda" else 2048
    a, b = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
    x = torch.randn(64, 256, 8, 8, device=device, dtype=dtype)
    w = torch.randn(256, 256, 3, 3, device=device, dtype=dtype)
    x, w = (t.contiguous(memory_format=torch.channels_last) for t in (x, w))
    with torch.no_grad():
        return {
            "matrix_product": 2 * side**3 / _best(lambda: a @ b, device) / 1e9,
            "convolution": 2
            * 64
            * 64
            * w.numel()
            / _best(lambda: F.conv2d(x, w, padding=1), device)
            / 1e9,
        }


def _best(compute: Callable[[], object], device: torch.device) -> float:
    wait = torch.cuda.synchronize if device.type == "cuda" else lambda: None
    times = []
    for _ in range(10):
        wait()
        start = time.perf_counter()
        compute()
        wait()
        times.append(time.perf_counter() - start)
    return min(times)


def parsed() -> argparse.Namespace:
    """Return the command line's options."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--architecture", default="wrn-16-4")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--image", type=int, default=32)
    parser.add_argument("--threads", type=int, default=usable_threads())
    parser.add_argument("--workers", type=int, nargs="+", default=[0, usable_threads()])
    parser.add_argument("--precisions", nargs="+", default=["float32", fastest(default_device())])
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=5.0, help="of one turn")
    return parser.parse_args()


def turns(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Let every contender take its turns; return one row a turn."""
    contenders: dict[tuple[int, str], Ours | Theirs] = {}
    for exits in EXITS:
        for workers in options.workers:
            name = f"common recipe, {workers} workers"
            contenders[exits, name] = Theirs(options, exits, workers)
        for precision in options.precisions:
            contenders[exits, f"engine, {precision}"] = Ours(options, exits, precision)
    rows = []
    for repetition, ((exits, name), contender) in itertools.product(
        range(options.repetitions), contenders.items()
    ):
        processor, wall = time.process_time(), time.perf_counter()
        rate = contender.rate()
        share = (time.process_time() - processor) / (time.perf_counter() - wall)
        rows.append(
            {
                "architecture": options.architecture,
                "batch": options.batch,
                "threads": options.threads,
                "exits": exits,
                "contender": name,
                "repetition": repetition,
                "images_per_second": round(rate, 2),
                "images_per_processor_second": round(rate / share, 2),
            }
        )
        print(rows[-1], flush=True)
    return rows


def summary(rows: list[dict[str, Any]], exits: int, measure: str) -> dict[str, Any]:
    """Return the median of each contender and its ratio to the faster common recipe."""
    names = dict.fromkeys(r["contender"] for r in rows)
    medians = {
        name: statistics.median(
            r[measure] for r in rows if r["contender"] == name and r["exits"] == exits
        )
        for name in names
    }
    base = max(value for name, value in medians.items() if name.startswith("common"))
    ratios = {n: round(v / base, 2) for n, v in medians.items() if n.startswith("engine")}
    return {"exits": exits, "measure": measure, "medians": medians, "ratio_to_common": ratios}


def main() -> None:
    """Measure and write the tables."""
    options, device = parsed(), default_device()
    rows = turns(options)
    measures = ("images_per_second", "images_per_processor_second")
    summaries = [summary(rows, exits, m) for exits, m in itertools.product(EXITS, measures)]
    name = re.sub(r"[^A-Za-z0-9]+", "-", device_name(device)).strip("-").lower()
    record = {
        "options": vars(options),
        "summary": summaries,
        "startup": {str(exits): startup(options, exits) for exits in EXITS},
        "peak_gflops": {
            str(dtype).removeprefix("torch."): peak(dtype, device)
            for dtype in (torch.float32, torch.bfloat16)
        },
        "processor": dict(torch.cpu.get_capabilities()),
        "environment": environment(device),
    }
    target = FOLDER / f"speed_{options.architecture}_{name}.csv"
    write_csv(target, list(rows[0]), rows)
    write_json(target.with_suffix(".json"), record)
    for row in summaries:
        print(row)
    print({key: record[key] for key in ("startup", "peak_gflops")})


if __name__ == "__main__":
    main()
