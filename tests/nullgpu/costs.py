"""What a step costs on the null GPU: launches, host time, peak memory.

python tests/nullgpu/costs.py writes ``expected.csv``, which the tests hold the engine to.
"""

import csv
import gc
import time
from pathlib import Path
from typing import Any

import torch
from device import Kind, counts, each, reset
from stepping import TRAINED

from nfe.engine.throughput import Meter
from nfe.suite.run import specify

TABLE = Path(__file__).with_name("expected.csv")
COLUMNS = ("method", "architecture", "precision", "batch", "launches", "peak_mb")
PIXELS, PRECISION = 32, "bfloat16"
# Steps before the first one that counts: whatever is captured is captured by then. What sparse
# training does once in a hundredth of a training, here 40 steps, is not in what counts.
WARM_UP, STEPS = 6, 32

LARGE = ("resnet18", "wrn-28-10")
SMALL = "wrn-10-1"
CASES = (
    *(f"{method} {architecture} 128" for architecture in LARGE for method in ("single", "nfe")),
    *(f"{method} {SMALL} 16" for method in TRAINED),
)


def cost(case: str, record: str = "recorded") -> dict[str, Any]:
    """Return launches and host milliseconds a step, and the peak of memory in MB.

    A graph that is replayed is one launch. ``astray`` is what was launched beside a recording
    while it was made, and would be missing in it.

    Args:
        case: method, architecture and batch size.
        record: ``recorded`` to have the steps recorded where the method allows it.
    """
    method, architecture, batch = case.split()
    run = specify(
        dataset="digits",
        architecture_name=architecture,
        method=method,
        epochs=1,
        precision=PRECISION,
    )
    gc.collect()  # The case before this one, whose references go in circles.
    torch.cuda.reset_peak_memory_stats()
    reset()
    meter = Meter(run, int(batch), PIXELS, warm_up=WARM_UP, record=record == "recorded")
    astray = dict(counts(Kind.ASTRAY))
    reset()
    started = time.process_time()
    for _ in range(STEPS):
        meter.step()
    seconds = time.process_time() - started
    launched = counts(Kind.LAUNCH).total() + counts(Kind.GRAPH).total()
    return {
        "method": method,
        "architecture": architecture,
        "precision": PRECISION,
        "batch": int(batch),
        "launches": round(launched / STEPS, 1),
        "astray": astray,
        "host_ms": round(1000 * seconds / STEPS, 2),
        "peak_mb": round(torch.cuda.max_memory_allocated() / 1e6, 1),
    }


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
