"""Latency as a job of its own: alone on the device, on the networks that runs would train."""

import copy
import itertools
import logging
import statistics
import time
from collections.abc import Sequence
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
from nfe.engine import load
from nfe.engine.batches import Normalizer
from nfe.engine.environment import device_name, environment
from nfe.engine.runner import Worker
from nfe.engine.trainer import build_network
from nfe.evaluation import cost
from nfe.suite.outputs import network_name, taking_turns
from nfe.suite.run import Run

_log = logging.getLogger(__name__)

BATCHES = (1, 128)
TURNS = 4
# Of a turn, for each form and batch: the time to spend, and passes at least.
_TURN_SECONDS, _LEAST_PASSES = 0.05, 3
# How often a turn is taken again because of others, and after which pause.
_TRIES, _PAUSE_SECONDS = 10, 6.0
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


def measure(runs: Sequence[Run], folder: Path, worker: Worker) -> None:
    """Measure the latency of the runs' networks; those whose files are there are left alone.

    Networks of one backbone on one data set take turns, so that what the machine does meanwhile
    meets all of them. A turn during which others keep too many cores busy is taken again. Of
    several forms of a network the fastest counts, for each batch.

    Untrained weights are used: a dense kernel's time does not depend on their values.

    Raises:
        InputError: a network cannot be built, its method's version is not the code's, the folder
            cannot be written, or others keep too many cores busy (see ``load.limit``).
    """
    make_directory(folder)
    groups = [
        [run for name, run in group.items() if not (folder / f"{name}.json").exists()]
        for group in taking_turns(runs)
    ]
    for run in itertools.chain(*groups):
        run.check_makeable()
    for group in filter(None, groups):
        _measure(group, folder, worker)


def _measure(runs: Sequence[Run], folder: Path, worker: Worker) -> None:
    """Measure networks in turns, and write a file for each."""
    prepare_process(runs[0].threads, runs[0].precision)
    timed, records = [], []
    for run in runs:
        try:
            timed.append(_Timed(run, worker))
        except CollapseError as error:
            records.append(_record(run, worker) | {"reason": str(error)})
    loads = [_turn(timed) for _ in range(TURNS if timed else 0)]
    records += [_record(one.run, worker) | one.found() | {"others": loads} for one in timed]
    for record in records:
        write_json(folder / f"{record['network']}.json", record)
        _log.info("%s: latency measured", record["network"])


def _record(run: Run, worker: Worker) -> dict[str, Any]:
    device = worker.device
    threads = f", {run.threads} thread{'s' * (run.threads > 1)}" if device.type == "cpu" else ""
    return {
        "network": network_name(run),
        "latency_ms": None,
        "latency_ms_batch128": None,
        "latency_device": device_name(device) + threads,
        "environment": environment(device),
    }


def _turn(timed: Sequence["_Timed"]) -> float | None:
    """Time every network once; return how many cores others have kept busy meanwhile.

    Raises:
        InputError: too many, again and again.
    """
    for left in reversed(range(_TRIES)):
        others = load.Others()
        times = [network.turn() for network in timed]
        cores = others.cores()
        if cores is None or not load.too_high(cores):
            break
        if not left:
            raise load.refused(cores)
        _log.warning("a turn is taken again: others keep %.2f cores busy", cores)
        time.sleep(_PAUSE_SECONDS)
    for network, found in zip(timed, times, strict=True):
        network.turns.append(found)
    return cores


class _Timed:
    """A network to time, in its forms, and what was found in each turn.

    Attributes:
        run: the run whose network it is.
        turns: the times of passes in milliseconds, by the form's number and the batch.
    """

    def __init__(self, run: Run, worker: Worker) -> None:
        self.run = run
        self.turns: list[dict[tuple[int, int], list[float]]] = []
        data = worker.data(run)
        self._device = worker.device
        self._image = Normalizer(run.card, worker.device)(data.test.images[:1])
        # Each is on the device while it is its turn: together they may not fit.
        self._forms = [form.cpu() for form in deployed_forms(run, data, worker.device)]

    def turn(self) -> dict[tuple[int, int], list[float]]:
        """Return the times of some passes of each form and batch."""
        times = {}
        for number, form in enumerate(self._forms):
            form.to(self._device)
            for batch in BATCHES:
                times[number, batch] = cost.passes(
                    form, self._image, batch, seconds=_TURN_SECONDS, least=_LEAST_PASSES
                )
            form.cpu()
        return times

    def found(self) -> dict[str, Any]:
        """Return what the turns say: of each batch the fastest form."""
        kept, paths = {}, {}
        for batch in BATCHES:
            each = [self._passes(number, batch) for number in range(len(self._forms))]
            place = min(range(len(each)), key=lambda number: each[number]["median"])
            kept[str(batch)], paths[str(batch)] = each[place], FORMS[place]
        return {
            **({"paths": paths} if len(self._forms) > 1 else {}),
            "latency_ms": kept["1"]["median"],
            "latency_ms_batch128": kept["128"]["median"],
            "passes": kept,
        }

    def _passes(self, number: int, batch: int) -> dict[str, Any]:
        times = [turn[number, batch] for turn in self.turns]
        return cost.spread([t for turn in times for t in turn]) | {
            "turns": [statistics.median(turn) for turn in times]
        }
