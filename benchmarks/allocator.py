"""What keeping freed memory gives on a CPU: python benchmarks/allocator.py

Training of a WRN-10-2 at 32×32, batch 128, bfloat16, one thread, as nfe-bench benchmark measures,
with nfe/common/allocator.py and without; the two take turns, each in a process of its own. Writes
allocator.csv (images per second, medians of the turns) and allocator.json (environment).
"""

import json
import statistics
import subprocess
import sys
from pathlib import Path

import torch

from nfe.common.files import write_csv, write_json
from nfe.engine.environment import environment

FOLDER = Path(__file__).parent
METHODS = ("single", "nfe", "mimo", "batch_ensemble")
TURNS = 3
PROGRAM = """
import sys
from nfe.cli.main import main
from nfe.common import precision

if sys.argv[2] == "default":
    precision.keep_memory = lambda: None
words = "benchmark --architecture wrn-10-2 --batch 128 --image 32 --threads 1 --precision bfloat16"
sys.exit(main([*words.split(), "--method", sys.argv[1], "--json"]))
"""


def rate(method: str, memory: str) -> float:
    """Return images per second of a process of its own."""
    command = [sys.executable, "-c", PROGRAM, method, memory]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return float(json.loads(said)["images_per_second"])


def main() -> None:
    """Let both ways take turns, print and write their medians."""
    rows = []
    for method in METHODS:
        pairs = [(rate(method, "default"), rate(method, "kept")) for _ in range(TURNS)]
        default, kept = (statistics.median(rates) for rates in zip(*pairs, strict=True))
        rows.append(
            {
                "method": method,
                "default": round(default, 1),
                "kept": round(kept, 1),
                "ratio": round(statistics.median(k / d for d, k in pairs), 2),
            }
        )
        print(*rows[-1].values())
    write_csv(FOLDER / "allocator.csv", list(rows[0]), rows)
    write_json(FOLDER / "allocator.json", {"environment": environment(torch.device("cpu"))})


if __name__ == "__main__":
    main()
