"""What a step costs on the null GPU: launches, host time, peak memory.

python tests/nullgpu/costs.py writes ``expected.csv``, which the tests hold the engine to.
"""

import csv
import gc
import statistics
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from device import Kind, counts, each, reset
from stepping import TRAINED

from nfe.engine.throughput import Meter
from nfe.splitting import selection
from nfe.suite.run import specify

TABLE = Path(__file__).with_name("expected.csv")
COLUMNS = ("method", "architecture", "precision", "batch", "launches", "kernels", "peak_mb")
PIXELS, PRECISION = 32, "bfloat16"
# Steps before the first one that counts: whatever is captured is captured by then.
WARM_UP, STEPS = 8, 32
# Of the host's time.
ROUNDS = 5

LARGE = ("resnet18", "wrn-28-10")
SMALL = "wrn-10-1"
ALTERNATING = "nfe granularity=alternating"
# The methods that train, with settings that train another way.
SETTINGS = (*TRAINED, ALTERNATING)
# Masks are many small operations beside the recording.
MASKED = ("dst", "edst")
CASES = (
    *(
        f"{method}, {architecture}, 128"
        for architecture in LARGE
        for method in ("single", "nfe", ALTERNATING, *MASKED)
    ),
    *(f"{method}, {SMALL}, 16" for method in SETTINGS),
)


def cost(case: str, how: str = "recorded") -> dict[str, Any]:
    """Return launches, kernels and host milliseconds a step, and the peak of memory in MB.

    A graph that is replayed is one launch; ``kernels`` are what it and the launches beside it
    start. ``astray`` is what was launched beside a recording while it was made, and would be
    missing in it. The host's time is this process's on the processor, the median of ``ROUNDS``.

    Args:
        case: method with its settings, architecture and batch size.
        how: ``recorded`` to have the steps recorded where the method allows it; ``eager`` to
            run one operation at a time; ``by layer``, so that also each layer selects its weights.
    """
    chosen, architecture, batch = case.split(", ")
    method, *settings = chosen.split()
    run = specify(
        dataset="digits",
        architecture_name=architecture,
        method=method,
        settings=dict(setting.split("=") for setting in settings),
        epochs=1,
        precision=PRECISION,
    )
    gc.collect()  # The case before this one, whose references go in circles.
    torch.cuda.reset_peak_memory_stats()
    reset()
    with pytest.MonkeyPatch.context() as patch:
        if how == "by layer":
            patch.setattr(selection, "WHERE", frozenset())
        meter = Meter(run, int(batch), PIXELS, warm_up=WARM_UP, record=how == "recorded")
        recorder = meter.trainer._recorder
        recordings = max(1, recorder.recordings) if recorder else 1
        recorded, astray = counts(Kind.CAPTURED).total() / recordings, dict(counts(Kind.ASTRAY))
        reset()
        seconds = [_processor_seconds(meter)]
        alone, graphs = counts(Kind.LAUNCH).total(), counts(Kind.GRAPH).total()
        seconds += [_processor_seconds(meter) for _ in range(ROUNDS - 1)]
    return {
        "method": chosen,
        "architecture": architecture,
        "precision": PRECISION,
        "batch": int(batch),
        "launches": round((alone + graphs) / STEPS, 1),
        "kernels": round((alone + graphs * recorded) / STEPS, 1),
        "astray": astray,
        "host_ms": round(1000 * statistics.median(seconds) / STEPS, 2),
        "peak_mb": round(torch.cuda.max_memory_allocated() / 1e6, 1),
    }


def _processor_seconds(meter: Meter) -> float:
    started = time.process_time()
    for _ in range(STEPS):
        meter.step()
    return time.process_time() - started


def main() -> None:
    """Write the table."""
    rows = [outcome.get() for outcome in each(cost, CASES).values()]
    with TABLE.open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    print(TABLE.read_text(), end="")


if __name__ == "__main__":
    main()
