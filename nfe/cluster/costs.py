"""What runs take, as counted once on their networks (``nfe.cluster.counting``) and kept.

Plans of thousands of runs look in this table, costs.json, and need no PyTorch.
"""

import dataclasses
import functools
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nfe.common.files import read_json
from nfe.common.modes import PRECISIONS
from nfe.suite.run import Run

TABLE = Path(__file__).with_name("costs.json")
_FLOAT32 = "float32"


@dataclass(frozen=True)
class Cost:
    """What one run takes, whatever its data, epochs, batch and seed.

    Attributes:
        step_macs: multiply-adds of a training step for each distinct image, backward pass included.
        inference_macs: multiply-adds of the finished network for each image.
        step_outputs: numbers that the convolutions of a step give, for each distinct image.
        stored_bytes: size of the saved weights.
        building_mb: memory that building the network takes, where that is much.
        state_bytes: weights, gradients, momentum and buffers in training.
        kept_bytes: what a step of no images would keep for its backward pass.
        kept_bytes_each: what it keeps more for each distinct image.
    """

    step_macs: float
    inference_macs: float
    step_outputs: float
    stored_bytes: int
    building_mb: int
    state_bytes: int
    kept_bytes: float
    kept_bytes_each: float


def key(run: Run) -> str:
    """Return the name of a run's row: a hash of all that its cost depends on."""
    card, method = run.card, run.method_settings()
    costless = method.changes_nothing()
    settings = {k: v for k, v in run.settings.items() if k not in costless}
    told: dict[str, Any] = {
        "size": [card.channels, card.resolution, card.classes],
        "architecture": run.architecture,
        **({"network": run.network} if run.network else {}),
        "method": [run.method, method.version, settings],
        "dtype": PRECISIONS[run.precision].dtype or _FLOAT32,
    }
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:16]


def plain(run: Run) -> Run:
    """Return the run of a single network on the same data."""
    return dataclasses.replace(run, method="single", settings={}, versions={})


@functools.cache
def table() -> dict[str, Cost]:
    """Return costs.json."""
    return {name: Cost(*values) for name, values in read_json(TABLE).items()}
