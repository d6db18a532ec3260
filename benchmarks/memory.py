"""Memory of fission and of pruning scores, measured: python benchmarks/memory.py

Writes benchmarks/memory.csv. Two questions:

1. How many bytes do parameters, gradients and optimizer state of an N-exit network take after
   a training step, and its checkpoint, against the single network and against the layout of
   the public reference code (full dense copies per path)?
2. What is the peak resident memory of a process that scores WRN-28-10 at 32×32?
"""

import subprocess
import sys
import tempfile
from pathlib import Path

import torch
from torch import nn

from nfe import fission
from nfe import pruning as pruners
from nfe.backbones import architecture
from nfe.common.files import write_csv
from nfe.engine.checkpoint import Progress, save
from nfe.losses import fission_loss
from nfe.pruning import scores

OUTPUT = Path(__file__).with_suffix(".csv")
COLUMNS = ("question", "architecture", "what", "bytes", "ratio_to_single", "uint8_bytes")
SCORED = "wrn-28-10"
# Enough for two parts at a time, so that the peak is that of any number of images.
IMAGES = {"snip": 256, "grasp": 48, "synflow": 1}
# SynFlow's rounds all take the same memory.
ROUNDS = 3


def backbone(name: str) -> nn.Module:
    """Return an untrained network for CIFAR-100's shapes."""
    torch.manual_seed(0)
    return architecture(name).build(channels=3, classes=100, resolution=32)


def training_bytes(network: nn.Module, exits: int) -> tuple[int, int, int]:
    """Train one step; return bytes of weights, gradients and momentum, of uint8, on disk."""
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-4)
    logits = network(torch.randn(2, 3, 32, 32))
    logits = logits if exits else logits[:, None]
    fission_loss(logits, torch.tensor([0, 1])).backward()
    optimizer.step()
    parameters = list(network.parameters())
    state = [v for s in optimizer.state.values() for v in s.values() if torch.is_tensor(v)]
    tensors = [*parameters, *(p.grad for p in parameters), *state]
    groups = [v for v in network.state_dict().values() if v.dtype == torch.uint8]
    with tempfile.TemporaryDirectory() as folder:
        save(Path(folder), "measured", network, optimizer, Progress())
        disk = sum(path.stat().st_size for path in Path(folder).iterdir())
    count = sum(t.numel() * t.element_size() for t in tensors)
    return count, sum(g.numel() for g in groups), disk


def training_rows(name: str) -> list[dict[str, object]]:
    """Return the rows of one architecture: single, N = 2 and 3, the reference's layout."""
    networks = {"single": (backbone(name), 0)}
    networks |= {f"N = {n}": (fission(backbone(name), n), n) for n in (2, 3)}
    networks["N = 3, full copies per path"] = (fission(backbone(name), 3).materialized(), 3)
    rows: list[dict[str, object]] = []
    single: tuple[int, int] | None = None
    for what, (network, exits) in networks.items():
        memory, groups, disk = training_bytes(network, exits)
        single = single or (memory, disk)
        kinds = (("training state", memory, single[0]), ("checkpoint", disk - groups, single[1]))
        for kind, size, reference in kinds:
            rows.append(
                {
                    "question": kind,
                    "architecture": name,
                    "what": what,
                    "bytes": size,
                    "ratio_to_single": f"{size / reference:.3f}",
                    "uint8_bytes": groups,
                }
            )
    return rows


def peak_of_scoring(pruning: str) -> int:
    """Score in a process of its own; return the peak of its resident memory in bytes."""
    command = [sys.executable, __file__, pruning]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def score(pruning: str) -> None:
    """Score once and print this process's peak resident memory in bytes."""
    count = IMAGES[pruning]
    scores._SYNFLOW_ROUNDS = ROUNDS
    example = (torch.randn(count, 3, 32, 32), torch.arange(count) % 100)
    pruners.masks(backbone(SCORED), pruning, 0.9, example, scope="layer")
    # Not getrusage: its peak survives exec, so a child starts with that of its parent.
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    print(1024 * next(int(line.split()[1]) for line in status.splitlines() if "VmHWM" in line))


def main() -> None:
    """Measure and write the table."""
    rows = [row for name in ("wrn-16-4", "wrn-28-10") for row in training_rows(name)]
    for pruning in IMAGES:
        peak = {"question": "peak of scoring", "architecture": SCORED, "what": pruning}
        rows.append({**peak, "bytes": peak_of_scoring(pruning)})
    write_csv(OUTPUT, COLUMNS, rows)
    print(OUTPUT.read_text(encoding="utf-8"), end="")


if __name__ == "__main__":
    if len(sys.argv) == 2:
        score(sys.argv[1])
    else:
        main()
