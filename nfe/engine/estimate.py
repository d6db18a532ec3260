"""What a job will need, estimated before it runs: minutes and memory.

A time limit must not be missed by much, and one that is missed costs little, since the next
attempt continues with a longer one. So the estimates are rough and on the high side.
"""

import functools
import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from nfe.engine import datasets
from nfe.engine.backbones import architecture
from nfe.engine.run import Run

# Multiply-adds per second in training, and seconds per step at least: modest devices, so that the
# estimate holds on better ones (WRN-16-4 in float32 on one 2020s CPU core: 6e10).
_SPEED = {"cpu": 3e10, "gpu": 2e13}
_STEP_SECONDS = {"cpu": 0.05, "gpu": 0.04}
# Starting up: the interpreter and libraries of the job and of the process within, three times.
_START_MINUTES = 4
# Settings that say how many networks' worth of work a step is, at most.
_MULTIPLIERS = ("members", "exits")


@functools.cache
def _size(name: str, resolution: int, channels: int, classes: int) -> tuple[int, int]:
    """Return the multiply-adds of one image's convolutions, and the number of parameters."""
    counts: list[int] = []

    def count(layer: nn.Conv2d, _inputs: object, output: Tensor) -> None:
        counts.append(layer.weight[0].numel() * output.numel())

    with torch.no_grad():
        network = architecture(name).build(
            channels=channels, classes=classes, resolution=resolution
        )
        for layer in network.modules():
            if isinstance(layer, nn.Conv2d):
                layer.register_forward_hook(count)
        network.eval()(torch.empty(1, channels, resolution, resolution))
    return sum(counts), sum(parameter.numel() for parameter in network.parameters())


def _network(run: Run) -> tuple[int, int]:
    card = run.card
    return _size(run.architecture, card.resolution, card.channels, card.classes)


def _networks(run: Run) -> int:
    return max([1, *(int(run.settings[key]) for key in _MULTIPLIERS if key in run.settings)])


def _images(run: Run) -> int:
    card = run.card
    return card.classes * (card.images_per_class or datasets.dataset(card.name).images_per_class)


def seconds(run: Run, gpus: int) -> float:
    """Return a generous estimate of the seconds that a run trains on one device."""
    device = "gpu" if gpus else "cpu"
    steps = run.epochs * math.ceil(_images(run) / run.recipe.batch_size)
    macs = 3 * _network(run)[0]
    step = max(_STEP_SECONDS[device], run.recipe.batch_size * macs / _SPEED[device])
    return steps * step * _networks(run)


def minutes(runs: Sequence[Run], gpus: int) -> int:
    """Return the time limit of a job that makes ``runs`` one after the other."""
    return _START_MINUTES + math.ceil(sum(seconds(run, gpus) for run in runs) / 60)


def memory_mb(runs: Sequence[Run]) -> int:
    """Return the memory of a job: the process, and its largest data set three times."""
    data = max(_images(run) * run.card.channels * run.card.resolution**2 for run in runs)
    return 4000 + math.ceil(3 * data / 1e6)


def disk_mb(runs: Sequence[Run]) -> int:
    """Return the disk space of finished runs: each one's weights, and its results."""
    return math.ceil(sum(4e-6 * _network(run)[1] * _networks(run) + 5 for run in runs))
