"""Latency as a job of its own: alone on the device, on the network that a run would train."""

import dataclasses
import logging
from pathlib import Path
from typing import Any

import torch
from torch import nn

from nfe.engine import cost
from nfe.engine.batches import Normalizer
from nfe.engine.environment import device_name, environment
from nfe.engine.errors import CollapseError
from nfe.engine.execution import Workplace
from nfe.engine.files import make_directory, write_json
from nfe.engine.outputs import network_name
from nfe.engine.precision import autocast, prepare_process
from nfe.engine.run import Run
from nfe.engine.training import build_network

_log = logging.getLogger(__name__)

BATCHES = (1, 128)


class _InPrecision(nn.Module):
    """A network with its precision's context around the forward pass."""

    def __init__(self, network: nn.Module, precision: str) -> None:
        super().__init__()
        self.network = network
        self._precision = precision

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        with autocast(self._precision, x.device):
            logits: torch.Tensor = self.network(x)
        return logits


def measure(run: Run, folder: Path, workplace: Workplace) -> None:
    """Measure the latency of the run's network once; nothing happens where it stands.

    Untrained weights are used: a dense kernel's time does not depend on their values.

    Raises:
        InputError: the network cannot be built, its method's version is not the code's, or the
            folder cannot be written.
    """
    make_directory(folder)
    target = folder / f"{network_name(run)}.json"
    if target.exists():
        return
    run.check_makeable()
    prepare_process(run.threads, run.precision)
    write_json(target, _measured(dataclasses.replace(run, seed=0), workplace))
    _log.info("%s: latency measured", target.stem)


def _measured(run: Run, workplace: Workplace) -> dict[str, Any]:
    device = workplace.device
    threads = f", {run.threads} thread{'s' * (run.threads > 1)}" if device.type == "cpu" else ""
    record: dict[str, Any] = {
        "network": network_name(run),
        "latency_ms": None,
        "latency_ms_batch128": None,
        "latency_device": device_name(device) + threads,
        "environment": environment(device),
    }
    data = workplace.data(run)
    try:
        network, _ = build_network(run, run.build_method(), data)
    except CollapseError as error:
        return record | {"reason": str(error)}
    image = Normalizer(run.card, device)(data.test.images[:1])
    timed = _InPrecision(network.to(device), run.precision)
    passes = {batch: cost.latency(timed, image, batch, seconds=0.2) for batch in BATCHES}
    return record | {
        "latency_ms": passes[1]["median"],
        "latency_ms_batch128": passes[128]["median"],
        "passes": {str(batch): value for batch, value in passes.items()},
    }
