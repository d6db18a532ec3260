"""How PyTorch's threads should wait for one another on a CPU: python benchmarks/waiting.py

Training of a WRN-10-2 at 32×32, batch 128, bfloat16, on every core, beside none, one and two other
processes that compute, with threads that spin while they wait as long as GNU's OpenMP does by
default, a thirtieth of that, or not at all. One process for each, in turns of two seconds. Writes
waiting.csv (images per second: lower quartile, median and upper quartile of the turns) and
waiting.json (environment).
"""

import contextlib
import os
import statistics
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import torch

from nfe.common.files import write_csv, write_json
from nfe.engine.environment import environment

FOLDER = Path(__file__).parent
METHODS = ("single", "nfe")
OTHERS = (0, 1, 2)
TURNS = 9
WAITING = {
    "spinning": {"GOMP_SPINCOUNT": "300000"},
    "briefly": {"GOMP_SPINCOUNT": "10000"},
    "sleeping": {"OMP_WAIT_POLICY": "PASSIVE"},
}
PROGRAM = """
import os
import sys
from nfe.engine.throughput import Meter
from nfe.suite.run import specify

run = specify(
    dataset="digits", architecture_name="wrn-10-2", method=sys.argv[1], precision="bfloat16",
    threads=os.cpu_count(), epochs=1,
)
meter = Meter(run, 128, 32)
for _ in sys.stdin:
    print(meter.rate(2), flush=True)
"""


class Trained:
    """A process that trains when it is asked to."""

    def __init__(self, method: str, waiting: dict[str, str]) -> None:
        own = {k: v for k, v in os.environ.items() if not k.startswith(("OMP_", "GOMP_"))}
        self._process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, method],
            env=own | waiting,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def rate(self) -> float:
        """Return the images per second of its next two seconds."""
        assert self._process.stdin and self._process.stdout
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return float(self._process.stdout.readline())

    def end(self) -> None:
        """Let it end."""
        self._process.communicate()


@contextlib.contextmanager
def busy(processes: int) -> Iterator[None]:
    """Let other processes compute without end."""
    others = [
        subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(processes)
    ]
    try:
        yield
    finally:
        for other in others:
            other.kill()
            other.wait()


def rows(method: str) -> Iterator[dict[str, str | int | float]]:
    """Let all ways of waiting take turns beside other processes; yield the rates of each."""
    trained = {name: Trained(method, waiting) for name, waiting in WAITING.items()}
    for process in trained.values():
        process.rate()
    for others in OTHERS:
        with busy(others):
            turns = [{name: each.rate() for name, each in trained.items()} for _ in range(TURNS)]
        for name in trained:
            low, middle, high = statistics.quantiles(turn[name] for turn in turns)
            yield {
                "method": method,
                "other_processes": others,
                "waiting": name,
                "lower_quartile": round(low, 1),
                "images_per_second": round(middle, 1),
                "upper_quartile": round(high, 1),
                "ratio": round(
                    statistics.median(turn[name] / turn["spinning"] for turn in turns), 2
                ),
            }
    for process in trained.values():
        process.end()


def main() -> None:
    """Print and write the rates of each method beside each number of other processes."""
    found = []
    for method in METHODS:
        for row in rows(method):
            print(*row.values(), flush=True)
            found.append(row)
    write_csv(FOLDER / "waiting.csv", list(found[0]), found)
    write_json(FOLDER / "waiting.json", {"environment": environment(torch.device("cpu"))})


if __name__ == "__main__":
    main()
