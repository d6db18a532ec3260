"""Which share of a fissioned network's weights is live: python benchmarks/live.py

Writes benchmarks/live.csv: for each architecture at 32×32 pixels, N and division the share of the
divided weights that can have a gradient before training (``nfe.splitting.live``). No data are
looked at, and nothing is trained; the seed decides which weights go where. A minute or two.
"""

from pathlib import Path

import torch

from nfe import fission
from nfe.backbones import architecture
from nfe.common.files import write_csv
from nfe.splitting.choices import GRANULARITIES
from nfe.splitting.live import live_share

OUTPUT = Path(__file__).with_suffix(".csv")
ARCHITECTURES = ("wrn-10-2", "wrn-16-4", "resnet18")
COLUMNS = ("architecture", "exits", "granularity", "live_weights")


def row(name: str, exits: int, granularity: str) -> dict[str, object]:
    """Return one row."""
    torch.manual_seed(0)
    backbone = architecture(name).build(channels=3, classes=100, resolution=32)
    network = fission(backbone, exits, granularity=granularity)
    share = live_share(network, torch.zeros(1, 3, 32, 32))
    return dict(zip(COLUMNS, (name, exits, granularity, f"{share:.4f}"), strict=True))


def main() -> None:
    """Write the table; 2:4 is for two paths."""
    rows = [
        row(name, exits, granularity)
        for name in ARCHITECTURES
        for exits in (2, 3)
        for granularity in GRANULARITIES
        if (granularity, exits) != ("2:4", 3)
    ]
    write_csv(OUTPUT, COLUMNS, rows)
    print(OUTPUT.read_text(encoding="utf-8"), end="")


if __name__ == "__main__":
    main()
