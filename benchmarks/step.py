"""Where a training step's time goes on this CPU: python benchmarks/step.py

Writes benchmarks/step_operators.csv (each operator's share of a step's processor time, WRN-16-4,
batch 64), step_convolutions.csv (GFLOP/s of its 3×3 convolutions in each precision and layout, and
of two paths' convolutions as one grouped convolution), step_compile.csv (what torch.compile
brings) and step.json (environment). One thread, processor time, best of several: other work on the
machine matters little.
"""

import itertools
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import nn

from nfe.common.files import write_csv, write_json
from nfe.engine.environment import environment
from nfe.engine.throughput import Meter
from nfe.suite.run import specify

FOLDER = Path(__file__).parent
BATCH, REPETITIONS, LISTED = 64, 5, 12
# Channels and side of the maps of WRN-16-4's stages at 32×32.
STAGES = ((64, 32), (128, 16), (256, 8))
LAYOUTS = {"NCHW": torch.contiguous_format, "channels-last": torch.channels_last}


def seconds(compute: Callable[[], object]) -> float:
    """Return the least processor time of several calls."""
    compute()
    times = []
    for _ in range(REPETITIONS):
        start = time.process_time()
        compute()
        times.append(time.process_time() - start)
    return min(times)


def convolution(
    channels: int, side: int, dtype: torch.dtype, layout: str, paths: int
) -> dict[str, Any]:
    """Return GFLOP/s of a stage's convolution: forward, gradient of inputs and of weights."""
    width, place = channels * paths, {"memory_format": LAYOUTS[layout]}
    x = torch.randn(BATCH, width, side, side).to(dtype).contiguous(**place)
    w = torch.randn(width, channels, 3, 3).to(dtype).contiguous(**place)
    g = torch.randn_like(x)

    def backward(inputs: bool) -> object:
        wanted = [inputs, not inputs, False]
        return torch.ops.aten.convolution_backward(
            g, x, w, None, [1, 1], [1, 1], [1, 1], False, [0, 0], paths, wanted
        )

    flops = 2 * x.numel() * w[0].numel()
    return {
        "channels": channels,
        "side": side,
        "precision": str(dtype).removeprefix("torch."),
        "layout": layout,
        "paths_in_one": paths,
        "forward": round(flops / seconds(lambda: F.conv2d(x, w, padding=1, groups=paths)) / 1e9),
        "input_gradient": round(flops / seconds(lambda: backward(True)) / 1e9),
        "weight_gradient": round(flops / seconds(lambda: backward(False)) / 1e9),
    }


def meter_of(exits: int, precision: str) -> Meter:
    """Return the training whose steps are measured."""
    run = specify(
        dataset="digits",
        architecture_name="wrn-16-4",
        method="single" if exits == 1 else "nfe",
        settings={} if exits == 1 else {"exits": exits},
        epochs=1,
        precision=precision,
    )
    return Meter(run, BATCH, 32)


def compiled(exits: int) -> dict[str, Any]:
    """Return what torch.compile costs and brings in bfloat16."""
    meter = meter_of(exits, "bfloat16")
    eager, start = seconds(meter.step), time.process_time()
    inside = cast(nn.Module, torch.compile(meter.trainer.network))
    meter.trainer._forward = meter.trainer._in_precision(inside)
    meter.step()
    compilation = time.process_time() - start
    return {
        "exits": exits,
        "eager_step_seconds": round(eager, 3),
        "compiled_step_seconds": round(seconds(meter.step), 3),
        "compilation_seconds": round(compilation, 1),
    }


def operators(exits: int, precision: str) -> list[dict[str, Any]]:
    """Return the operators of one training step, the costliest first."""
    meter = meter_of(exits, precision)
    took = seconds(meter.step)
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profiled:
        meter.step()
    events = sorted(profiled.key_averages(), key=lambda e: -e.self_cpu_time_total)
    total = sum(event.self_cpu_time_total for event in events)
    common = {"exits": exits, "precision": precision, "step_seconds": round(took, 3)}
    return [
        {
            **common,
            "operator": event.key,
            "calls": event.count,
            "percent": round(100 * event.self_cpu_time_total / total, 1),
        }
        for event in events[:LISTED]
    ]


def main() -> None:
    """Measure and write the tables."""
    torch.set_num_threads(1)
    with torch.no_grad():
        rows = [
            convolution(*stage, dtype, layout, paths)
            for dtype, layout, stage, paths in itertools.product(
                (torch.float32, torch.bfloat16), LAYOUTS, STAGES, (1, 2)
            )
        ]
    write_csv(FOLDER / "step_convolutions.csv", list(rows[0]), rows)
    shares = [
        row
        for exits, precision in itertools.product((1, 3), ("float32", "bfloat16"))
        for row in operators(exits, precision)
    ]
    write_csv(FOLDER / "step_operators.csv", list(shares[0]), shares)
    compilations = [compiled(exits) for exits in (1, 3)]
    write_csv(FOLDER / "step_compile.csv", list(compilations[0]), compilations)
    write_json(FOLDER / "step.json", {"environment": environment(torch.device("cpu"))})
    for row in (*rows, *shares, *compilations):
        print(row)


if __name__ == "__main__":
    main()
