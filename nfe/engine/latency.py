"""Latency as a job of its own: alone on the device, on the network that a run would train."""

import copy
import dataclasses
import logging
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from torch import nn
from torch.nn.utils import parametrize

from nfe.common.errors import CollapseError, InputError
from nfe.common.files import make_directory, write_json
from nfe.common.parametrized import make_plain
from nfe.common.precision import InPrecision, prepare_process
from nfe.data import Data
from nfe.engine.batches import Normalizer
from nfe.engine.environment import device_name, environment
from nfe.engine.runner import Worker
from nfe.engine.trainer import build_network
from nfe.evaluation import cost
from nfe.suite.outputs import network_name
from nfe.suite.run import Run

_log = logging.getLogger(__name__)

BATCHES = (1, 128)
# How a network's paths are computed, in the order of ``deployed_forms``.
FORMS = ("one after the other", "side by side")


@runtime_checkable
class _Compacted(Protocol):
    """A network that can say what it is with ordinary weights, and without what is zero."""

    def compacted(self) -> nn.Module:
        """Return a copy for inference: the same logits."""


@runtime_checkable
class _Grouped(Protocol):
    """A network that can say what it is with its paths side by side."""

    def grouped(self) -> nn.Module:
        """Return a copy for inference: the same logits."""


def deployed(network: nn.Module) -> nn.Module:
    """Return a copy in evaluation mode with ordinary weights, as a user would deploy it.

    Masks that training needs (a path's share of a split weight, a parametrization) are applied
    once instead of in every forward pass, and rows and columns that are zero on a path are left
    out.
    """
    if isinstance(network, _Compacted):
        return network.compacted()
    mine = copy.deepcopy(network).eval()
    for layer in mine.modules():
        if parametrize.is_parametrized(layer):
            make_plain(layer)
    return mine


def deployed_forms(run: Run, data: Data, device: torch.device) -> list[nn.Module]:
    """Return the run's untrained network as it would be deployed, in the run's precision.

    Where there are several forms with the same logits, which is faster depends on device and
    batch.

    Raises:
        InputError: the network cannot be built, or a layer collapses.
    """
    network, _ = build_network(run, run.build_method(), data)
    forms = [deployed(network)]
    if isinstance(network, _Grouped):
        with suppress(InputError):
            forms.append(network.grouped())
    return [InPrecision(form.to(device), run.precision, lift=False) for form in forms]


def measure(run: Run, folder: Path, worker: Worker) -> None:
    """Measure the latency of the run's network once; nothing happens where it stands.

    Of several forms of the network the fastest counts, for each batch.

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
    write_json(target, _measured(dataclasses.replace(run, seed=0), worker))
    _log.info("%s: latency measured", target.stem)


def _measured(run: Run, worker: Worker) -> dict[str, Any]:
    device = worker.device
    threads = f", {run.threads} thread{'s' * (run.threads > 1)}" if device.type == "cpu" else ""
    record: dict[str, Any] = {
        "network": network_name(run),
        "latency_ms": None,
        "latency_ms_batch128": None,
        "latency_device": device_name(device) + threads,
        "environment": environment(device),
    }
    data = worker.data(run)
    try:
        forms = deployed_forms(run, data, device)
    except CollapseError as error:
        return record | {"reason": str(error)}
    image = Normalizer(run.card, device)(data.test.images[:1])
    passes, fastest = {}, {}
    for batch in BATCHES:
        timed = [cost.latency(form, image, batch, seconds=0.2) for form in forms]
        place = min(range(len(forms)), key=lambda number: timed[number]["median"])
        passes[batch], fastest[str(batch)] = timed[place], FORMS[place]
    if len(forms) > 1:
        record["paths"] = fastest
    return record | {
        "latency_ms": passes[1]["median"],
        "latency_ms_batch128": passes[128]["median"],
        "passes": {str(batch): value for batch, value in passes.items()},
    }
