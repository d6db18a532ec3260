"""What a step asks of the host and of a GPU's memory: python benchmarks/launches.py

Writes benchmarks/launches.csv, each method on ResNet18 and WRN-28-10 in bfloat16, batch 128 at
32×32: launches, the kernels that they start, host milliseconds, and the peak of memory; as it is,
and (``_before``) one operation at a time, each layer selecting its own weights. Measured on the
null GPU (docs/performance.md), so no GPU is needed, only a C compiler. Host milliseconds are
processor time, the median of five rounds of 32 steps; best on an idle machine. Two minutes.
"""

import sys
from pathlib import Path
from typing import Any

from nfe.common.files import write_csv, write_json
from nfe.common.precision import default_device
from nfe.engine.environment import environment

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "nullgpu"))
from costs import LARGE, SETTINGS, cost
from device import each

OUTPUT = Path(__file__).with_suffix(".csv")
PLACE = ("method", "architecture", "precision", "batch")
MEASURED = ("launches", "kernels", "host_ms", "peak_mb")
COLUMNS = (*PLACE, *MEASURED, *(f"{name}_before" for name in MEASURED if name != "kernels"))
BATCH = 128
# Of one process, which measures one architecture in one way.
SECONDS = 1800


def rows(architecture: str) -> list[dict[str, Any]]:
    """Return the rows of one architecture."""
    cases = tuple(f"{method}, {architecture}, {BATCH}" for method in SETTINGS)
    recorded = each(cost, cases, "recorded", seconds=SECONDS)
    direct = each(cost, cases, "by layer", seconds=SECONDS)
    found = []
    for case in cases:
        row, before = recorded[case].get(), direct[case].get()
        row |= {f"{name}_before": before[name] for name in MEASURED}
        found.append({name: row[name] for name in COLUMNS})
    return found


def main() -> None:
    """Measure everything and write the table."""
    write_csv(OUTPUT, COLUMNS, [row for name in LARGE for row in rows(name)])
    write_json(OUTPUT.with_suffix(".json"), {"environment": environment(default_device())})
    print(OUTPUT.read_text(encoding="utf-8"), end="")


if __name__ == "__main__":
    main()
