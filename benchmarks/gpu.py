"""The suite's speed on one NVIDIA GPU: python benchmarks/gpu.py [--only QUESTION …] [--seconds S]

Needs an otherwise idle GPU. Questions, the most telling first:

  step      training steps of the methods beside the single network, in turns in one process:
            images per second, ratio of the seconds, peak memory; recorded as a CUDA graph and eager
  several   runs at once in processes that share the GPU, against one
  common    the engine against training as most public repositories do it
  latency   one image and 128: what a user would deploy, in turns

Each row is written to benchmarks/gpu_<device>.csv as it comes, so that what a time limit or a
failure cuts off costs no more than that. A failure is a row, too.
"""

import argparse
import json
import os
import re
import signal
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

from nfe.common.files import write_csv, write_json
from nfe.common.precision import prepare_process
from nfe.engine.environment import device_name, environment
from nfe.suite.run import Run, specify

FOLDER = Path(__file__).parent
COLUMNS = ("question", "architecture", "setting", "precision", "measure", "value", "unit", "spread")
Row = dict[str, Any]

BATCH, PIXELS = 128, 32
ROUNDS, ROUND_SECONDS = 5, 0.15
SMALL = "wrn-16-2"
AT_ONCE = (1, 2, 4, 8, 12)
# A setting: its name, method and settings.
Setting = tuple[str, str, dict[str, Any]]
SINGLE: Setting = ("single", "single", {})
SETTINGS: tuple[Setting, ...] = (
    SINGLE,
    ("nfe N = 3", "nfe", {"exits": 3}),
    ("nfe N = 3, alternating", "nfe", {"exits": 3, "granularity": "alternating"}),
    ("nfe N = 2", "nfe", {"exits": 2}),
    ("nfe N = 2, alternating", "nfe", {"exits": 2, "granularity": "alternating"}),
    ("narrow_ensemble M = 3", "narrow_ensemble", {"members": 3}),
    ("sembg", "sembg", {}),
    ("mimo", "mimo", {}),
    ("batch_ensemble", "batch_ensemble", {}),
    ("exit_ensemble_distillation", "exit_ensemble_distillation", {}),
)
# Measured without recorded steps, too.
EAGER_TOO = ("single", "nfe N = 3", "nfe N = 3, alternating")
# A large network: what the GPU itself computes; measured for the first settings alone.
LARGE, FIRST = "wrn-28-10", 3


def run_of(architecture: str, method: str, settings: dict[str, Any], precision: str) -> Run:
    """Return a run that is only measured."""
    return specify(
        dataset="cifar100",
        architecture_name=architecture,
        method=method,
        settings=settings,
        epochs=1,
        precision=precision,
    )


def _spread(values: list[float]) -> str:
    return f"{min(values):.4g}-{max(values):.4g}"


def _row(question: str, architecture: str, setting: str, precision: str, **more: Any) -> Row:
    return {
        "question": question,
        "architecture": architecture,
        "setting": setting,
        "precision": precision,
        **more,
    }


def step(architecture: str, precision: str) -> Iterator[Row]:
    """Yield rates, ratios and memory of training steps, all settings in turns."""
    from nfe.engine.throughput import Meter

    meters: dict[tuple[str, bool], Any] = {}
    for name, method, settings in SETTINGS[: FIRST if architecture == LARGE else None]:
        for record in (True, False) if name in EAGER_TOO else (True,):
            label = name if record else f"{name}, eager"
            try:
                torch.cuda.empty_cache()
                held = torch.cuda.memory_allocated()
                torch.cuda.reset_peak_memory_stats()
                run = run_of(architecture, method, settings, precision)
                meters[name, record] = Meter(run, BATCH, PIXELS, warm_up=8, record=record)
                peak = (torch.cuda.max_memory_allocated() - held) / 2**20
            except Exception as error:
                yield _failed("step", architecture, label, precision, error)
                continue
            yield _row(
                "step", architecture, label, precision, measure="peak memory", value=peak, unit="MB"
            )
    seconds: dict[tuple[str, bool], list[float]] = {key: [] for key in meters}
    for _ in range(ROUNDS):
        for key, meter in meters.items():
            seconds[key].append(BATCH / meter.rate(ROUND_SECONDS))
    base = seconds["single", True]
    for (name, record), times in seconds.items():
        label = name if record else f"{name}, eager"
        ratios = [a / b for a, b in zip(times, base, strict=True)]
        at = ("step", architecture, label, precision)
        milliseconds = [1000 * t for t in times]
        yield _row(
            *at,
            measure="seconds a step",
            value=statistics.median(milliseconds),
            unit="ms",
            spread=_spread(milliseconds),
        )
        yield _row(
            *at,
            measure="to single",
            value=statistics.median(ratios),
            unit="×",
            spread=_spread(ratios),
        )


def one(precision: str) -> Iterator[Row]:
    """Yield the rate of a small run each time a line says for how many seconds to train."""
    from nfe.engine.throughput import Meter

    meter = Meter(run_of(SMALL, "single", {}, precision), BATCH, PIXELS, warm_up=20)
    yield {"rate": 0.0}
    for line in sys.stdin:
        yield {"rate": meter.rate(float(line))}


def several(precision: str) -> Iterator[Row]:
    """Yield the joint rate of runs at once, with MPS where there is one."""
    from nfe.engine.pool import shared_gpu

    rates: dict[int, float] = {}
    with shared_gpu() as daemon:
        children = [_child("one", precision, stdin=subprocess.PIPE) for _ in range(max(AT_ONCE))]
        _heard(children)
        for count in AT_ONCE:
            # All begin together, or the first would be measured alone.
            for child in children[:count]:
                child.stdin.write("2\n")  # type: ignore[union-attr]
                child.stdin.flush()  # type: ignore[union-attr]
            rates[count] = sum(_heard(children[:count]))
            label = f"{count} at once, {'MPS' if daemon else 'no MPS'}"
            at = ("several", SMALL, label, precision)
            yield _row(*at, measure="rate", value=rates[count], unit="images/s")
            yield _row(*at, measure="gain", value=rates[count] / rates[1], unit="×")
        for child in children:
            child.communicate()


def _heard(children: list[subprocess.Popen[str]]) -> list[float]:
    """Wait until each process has said something and return the rates."""
    lines = [child.stdout.readline() for child in children]  # type: ignore[union-attr]
    return [float(json.loads(line)["rate"]) for line in lines]


def common(architecture: str, precision: str) -> Iterator[Row]:
    """Yield the common recipe's rate (float32, TF32 in cuDNN, loader processes) and the gain."""
    from common_recipe import CommonRecipe

    from nfe.engine.throughput import Meter, images_per_second

    device = torch.device("cuda")
    images = torch.randint(0, 256, (20_000, 3, PIXELS, PIXELS), dtype=torch.uint8)
    workers = min(16, os.cpu_count() or 1)
    for exits, method in ((1, "single"), (3, "nfe")):
        recipe = CommonRecipe(architecture, exits, images, BATCH, device, workers)
        for _ in range(2 * workers):
            recipe.step()
        rate = images_per_second(recipe.step, BATCH, device, 5.0)
        settings = {} if exits == 1 else {"exits": exits}
        ours = Meter(run_of(architecture, method, settings, precision), BATCH, PIXELS, warm_up=20)
        own = ours.rate(3.0)
        label = "single" if exits == 1 else "nfe N = 3"
        at = ("common", architecture, label, precision)
        yield _row(*at, measure="common recipe", value=rate, unit="images/s")
        yield _row(*at, measure="engine", value=own, unit="images/s")
        yield _row(*at, measure="engine to common recipe", value=own / rate, unit="×")


def latency(architecture: str, precision: str) -> Iterator[Row]:
    """Yield what one forward pass of the deployed network takes."""
    from nfe.engine.latency import FORMS, deployed_forms
    from nfe.engine.throughput import noise
    from nfe.evaluation import cost

    device = torch.device("cuda")
    prepare_process(1, precision)
    images = torch.rand(1, 3, PIXELS, PIXELS, device=device)
    networks: dict[str, torch.nn.Module] = {}
    for name, method, settings in SETTINGS:
        run = run_of(architecture, method, settings, precision)
        try:
            forms = deployed_forms(run, noise(run, BATCH, PIXELS), device)
        except Exception as error:
            yield _failed("latency", architecture, name, precision, error)
            continue
        for number, form in enumerate(forms):
            networks[name if number == 0 else f"{name}, {FORMS[number]}"] = form
    for batch in (1, 128):
        times: dict[str, list[float]] = {name: [] for name in networks}
        for _ in range(ROUNDS):
            for name, network in networks.items():
                times[name].append(cost.latency(network, images, batch, 0.05)["median"])
        for name, found in times.items():
            yield _row(
                "latency",
                architecture,
                name,
                precision,
                measure=f"latency, batch {batch}",
                value=statistics.median(found),
                unit="ms",
                spread=_spread(found),
            )


QUESTIONS: dict[str, Callable[..., Iterator[Row]]] = {
    "step": step,
    "one": one,
    "several": several,
    "common": common,
    "latency": latency,
}
# What is asked, in order, with arguments.
PLAN: tuple[tuple[str, ...], ...] = (
    ("step", "resnet18", "bfloat16"),
    ("step", "wrn-10-2", "bfloat16"),
    ("latency", "resnet18", "bfloat16"),
    ("step", "wrn-28-10", "bfloat16"),
    ("several", "bfloat16"),
    ("latency", "wrn-10-2", "bfloat16"),
    ("common", "resnet18", "bfloat16"),
    ("common", "wrn-28-10", "bfloat16"),
    ("step", "resnet18", "float32"),
)


def _failed(question: str, architecture: str, setting: str, precision: str, error: object) -> Row:
    text = f"failed: {type(error).__name__}: {error}" if isinstance(error, Exception) else error
    return _row(question, architecture, setting, precision, measure=str(text)[:300])


def _child(*arguments: str, **options: Any) -> subprocess.Popen[str]:
    """Start one question in a process of its own, so that memory and failures are its own."""
    command = [sys.executable, __file__, "--ask", *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, **options)


def _asked(question: tuple[str, ...], seconds: float) -> Iterator[Row]:
    """Yield a question's rows as they come, for at most ``seconds``."""
    child = _child(*question, start_new_session=True)
    # With the processes that it has started.
    watch = threading.Timer(seconds, os.killpg, (child.pid, signal.SIGKILL))
    watch.start()
    assert child.stdout is not None
    for line in child.stdout:
        yield json.loads(line)
    status = child.wait()
    watch.cancel()
    if status:
        architecture = question[1] if len(question) > 2 else ""
        why = f"failed: status {status} (out of time, or see above)"
        yield _failed(question[0], architecture, "", question[-1], why)


def main() -> None:
    """Ask the questions and write the rows as they come."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=["step", "several", "common", "latency"])
    parser.add_argument("--seconds", type=float, default=3600.0, help="stop by then")
    parser.add_argument("--output", type=Path, default=FOLDER, help="folder of the table")
    parser.add_argument("--ask", nargs="+", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.ask:
        question, *rest = arguments.ask
        for row in QUESTIONS[question](*rest):
            print(json.dumps(row), flush=True)
        return
    if not torch.cuda.is_available():
        raise SystemExit("gpu.py: no NVIDIA GPU that PyTorch can use: allowed: a machine with one")
    name = re.sub(r"[^A-Za-z0-9]+", "-", device_name(torch.device("cuda"))).strip("-").lower()
    arguments.output.mkdir(parents=True, exist_ok=True)
    target = arguments.output / f"gpu_{name}.csv"
    write_json(target.with_suffix(".json"), {"environment": environment(torch.device("cuda"))})
    rows: list[Row] = []
    stop_at = time.monotonic() + arguments.seconds
    for question in PLAN:
        left = stop_at - time.monotonic()
        if left < 5 or (arguments.only and question[0] not in arguments.only):
            continue
        for row in _asked(question, left):
            rows.append(row)
            write_csv(target, COLUMNS, rows)
            print(",".join(str(row.get(column, "")) for column in COLUMNS), flush=True)


if __name__ == "__main__":
    main()
