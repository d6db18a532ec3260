"""What precision and layout alone give on this CPU, in bare PyTorch: python benchmarks/bare.py

A WRN-16-4 at 32×32, batch 64, trained on images that are there already, without this engine's data,
loop and optimizer: the bound for what the engine can gain by them. The modes take turns in one
process. Writes bare.csv (images per second by wall clock, medians of five turns) and bare.json
(environment). Uses all cores: run it on an idle machine.
"""

import statistics
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

from nfe.backbones import architecture
from nfe.common.files import write_csv, write_json
from nfe.engine.environment import environment

FOLDER = Path(__file__).parent
BATCH, CLASSES, TURNS, STEPS = 64, 100, 5, 3
MODES = {
    ("float32", "NCHW"): torch.contiguous_format,
    ("float32", "channels-last"): torch.channels_last,
    ("bfloat16", "channels-last"): torch.channels_last,
}


class Bare:
    """A network, its optimizer and one batch, in one precision and layout."""

    def __init__(self, precision: str, layout: torch.memory_format) -> None:
        torch.manual_seed(0)
        network = architecture("wrn-16-4").build(channels=3, classes=CLASSES, resolution=32)
        self.network: nn.Module = network.train().to(memory_format=layout)
        self.optimizer = torch.optim.SGD(
            self.network.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-4, nesterov=True
        )
        self.images = torch.randn(BATCH, 3, 32, 32).contiguous(memory_format=layout)
        self.labels = torch.randint(0, CLASSES, (BATCH,))
        self.reduced = precision == "bfloat16"

    def step(self) -> None:
        """Train on the batch once."""
        self.optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=self.reduced):
            logits = self.network(self.images)
        F.cross_entropy(logits.float(), self.labels).backward()
        self.optimizer.step()

    def images_per_second(self) -> float:
        """Return the rate of a few steps."""
        started = time.perf_counter()
        for _ in range(STEPS):
            self.step()
        return STEPS * BATCH / (time.perf_counter() - started)


def main() -> None:
    """Let the modes take turns, print and write their medians."""
    bare = {mode: Bare(mode[0], layout) for mode, layout in MODES.items()}
    for network in bare.values():
        network.step()
    rates: dict[tuple[str, str], list[float]] = {mode: [] for mode in bare}
    for _ in range(TURNS):
        for mode, network in bare.items():
            rates[mode].append(network.images_per_second())
    first = statistics.median(rates["float32", "NCHW"])
    rows = [
        {
            "precision": precision,
            "layout": layout,
            "threads": torch.get_num_threads(),
            "images_per_second": round(statistics.median(found), 1),
            "ratio": round(statistics.median(found) / first, 2),
        }
        for (precision, layout), found in rates.items()
    ]
    for row in rows:
        print(*row.values())
    write_csv(FOLDER / "bare.csv", list(rows[0]), rows)
    write_json(FOLDER / "bare.json", {"environment": environment(torch.device("cpu"))})


if __name__ == "__main__":
    main()
