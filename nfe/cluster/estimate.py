"""What runs will need, estimated before they run: multiply-adds, time, memory, disk.

One estimate serves two ends. A job's time limit takes it on a modest device, so that it is on
the high side: a limit must not be missed by much, and one that is missed costs little, since the
next attempt continues with a longer one. ``nfe-bench plan`` takes it on named GPUs.
"""

import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from nfe import data as datasets
from nfe.backbones import architecture
from nfe.common import strict_yaml
from nfe.common.errors import unknown
from nfe.suite.run import Run

GPUS = Path(__file__).with_name("gpus.yaml")
# Starting up: the interpreter and libraries of the job and of the process within, three times.
_START_MINUTES = 4
# A backward pass takes as many multiply-adds for the inputs as for the weights.
_PASSES = 3
# What a process of its own takes of a GPU before its first tensor, at most.
CUDA_GB = 1.0


@dataclass(frozen=True)
class Device:
    """What runs could train on.

    Attributes:
        name: what to ask for it by.
        match: text in the device's name as PyTorch tells it.
        peak: dense TFLOP/s of each arithmetic.
        utilization: share of that which training reaches.
        basis: where the utilization comes from, in one word.
        source: where the numbers come from.
        step_seconds: what a step of one network takes at least.
        memory_gb: memory that it has, of several models with one name the least; 0: unknown.
    """

    name: str
    match: str
    peak: Mapping[str, float]
    utilization: Mapping[str, float]
    basis: str
    source: str
    step_seconds: float = 0.02
    memory_gb: float = 0

    def holds(self, megabytes: float) -> bool:
        """Return whether a training of that peak fits, CUDA's own memory beside it."""
        return megabytes / 1000 + CUDA_GB <= self.memory_gb

    def rated(self, precision: str) -> tuple[float, float]:
        """Return peak, in TFLOP/s, and utilization of a run's precision."""
        kind = precision.removesuffix("-fast")
        return self.peak[kind], self.utilization[kind]

    def speed(self, precision: str) -> float:
        """Return multiply-adds per second in training."""
        peak, utilization = self.rated(precision)
        return 1e12 * peak * utilization / 2


def _modest(name: str, macs: float, step_seconds: float) -> Device:
    peak = dict.fromkeys(("bfloat16", "float16", "float32"), 2e-12 * macs)
    return Device(name, "", peak, dict.fromkeys(peak, 1.0), "assumed", "", step_seconds)


# For time limits: they hold on better devices (WRN-16-4 in float32 on one 2020s CPU core: 6e10).
MODEST_CPU = _modest("a modest CPU core", 3e10, 0.05)
MODEST_GPU = _modest("a modest GPU", 2e13, 0.04)


def modest(gpus: int) -> Device:
    """Return the device that time limits are made for."""
    return MODEST_GPU if gpus else MODEST_CPU


@functools.cache
def gpus() -> dict[str, Device]:
    """Return the GPUs in gpus.yaml, by name."""
    read: dict[str, dict[str, Any]] = strict_yaml.load(GPUS)
    return {name: Device(name=name, **values) for name, values in read.items()}


def gpu(name: str) -> Device:
    """Return the GPU called ``name``.

    Raises:
        InputError: gpus.yaml has no GPU of that name.
    """
    if name not in gpus():
        raise unknown(f"GPU (of {GPUS.name})", name, gpus())
    return gpus()[name]


@functools.cache
def _size(name: str, resolution: int, channels: int, classes: int) -> tuple[int, int, int]:
    """Return the multiply-adds of one image, the parameters, and the convolutions' outputs."""
    counts: list[int] = []
    outputs: list[int] = []

    def shape_of(layer: nn.Conv2d, x: Tensor) -> Tensor:
        """Count what the layer would compute; its output's values do not matter."""
        padding = cast(tuple[int, ...], layer.padding)
        sides = zip(x.shape[2:], layer.kernel_size, layer.stride, padding, strict=True)
        shape = [(side + 2 * pad - size) // step + 1 for side, size, step, pad in sides]
        output = x.new_zeros(1, layer.out_channels, *shape)
        counts.append(layer.weight[0].numel() * output.numel())
        outputs.append(output.numel())
        return output

    with torch.no_grad():
        network = architecture(name).build(
            channels=channels, classes=classes, resolution=resolution
        )
        for layer in network.modules():
            if isinstance(layer, nn.Conv2d):
                layer.forward = functools.partial(shape_of, layer)  # type: ignore[method-assign]
        network.eval()(torch.zeros(1, channels, resolution, resolution))
    parameters = sum(parameter.numel() for parameter in network.parameters())
    return sum(counts), parameters, sum(outputs)


def _network(run: Run) -> tuple[int, int, int]:
    card = run.card
    return _size(run.architecture, card.resolution, card.channels, card.classes)


def _images(run: Run) -> int:
    card = run.card
    return card.classes * (card.images_per_class or datasets.dataset(card.name).images_per_class)


def training_macs(run: Run) -> float:
    """Return the multiply-adds of a run's training; 0 where it combines others."""
    if run.members():
        return 0.0
    return _PASSES * _passes(run) * _network(run)[0] * _images(run) * run.epochs


def step_outputs(run: Run) -> float:
    """Return how many numbers the convolutions of a run's step give."""
    passes = run.build_method().training_passes(architecture(run.architecture))
    return passes * _network(run)[2] * run.recipe.batch_size


def _passes(run: Run) -> float:
    """Return how many times a plain backbone would see each image of an epoch."""
    method = run.build_method()
    return method.training_passes(architecture(run.architecture)) * method.trainings()


def seconds(run: Run, device: Device) -> float:
    """Return an estimate of the seconds that a run trains on one device."""
    if run.members():
        return 0.0
    steps = run.epochs * math.ceil(_images(run) / run.recipe.batch_size) * _passes(run)
    return max(training_macs(run) / device.speed(run.precision), steps * device.step_seconds)


def minutes(runs: Sequence[Run], gpus: int) -> int:
    """Return the time limit of a job that makes ``runs`` one after the other."""
    return _START_MINUTES + math.ceil(sum(seconds(run, modest(gpus)) for run in runs) / 60)


def memory_mb(runs: Sequence[Run]) -> int:
    """Return the memory of a job: the process, its largest data set three times, and scoring.

    Pruning by data looks at many images at once, before training.
    """
    data = max(_images(run) * run.card.channels * run.card.resolution**2 for run in runs)
    return 4000 + math.ceil(3 * data / 1e6) + max(_building_mb(run) for run in runs)


def _building_mb(run: Run) -> int:
    card, method = run.card, run.build_method()
    backbone = architecture(run.architecture)
    return method.building_mb(backbone, card.channels, card.classes, card.resolution)


def disk_mb(runs: Sequence[Run]) -> int:
    """Return the disk space of finished runs: each one's weights, and its results."""
    return math.ceil(sum(4e-6 * _network(run)[1] * _copies(run) + 5 for run in runs))


def _copies(run: Run) -> int:
    """Return how many networks' worth of weights a run stores, at most."""
    return 0 if run.members() else max(1, int(run.settings.get("members", 1)))
