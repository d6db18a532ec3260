"""What runs will need, estimated before they run: multiply-adds, time, memory, disk.

One estimate serves two ends. A job's time limit takes it on a modest device, so that it is on
the high side: a limit must not be missed by much, and one that is missed costs little, since the
next attempt continues with a longer one. ``nfe-bench plan`` takes it on named GPUs.
"""

import functools
import heapq
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nfe import data as datasets
from nfe.cluster import costs
from nfe.cluster.costs import Cost
from nfe.common import strict_yaml
from nfe.common.errors import unknown
from nfe.data import outliers, splits
from nfe.data.base import EXTENDED
from nfe.suite.outputs import taking_turns
from nfe.suite.run import Run

GPUS = Path(__file__).with_name("gpus.yaml")
# Starting up: the interpreter and libraries of the job and of the process within, three times.
_START_MINUTES = 4
# A job is told to save its state so long before its limit (slurm/config.yaml).
_SAVING_MINUTES = 2
# Reading, scoring and writing of one run's predictions, at most.
_SCORING_SECONDS = 15
# Predictions are made in float32 at full precision, 500 images at a time (nfe.engine.inference):
# multiply-adds per second of a modest GPU and of a modest CPU core.
_INFERENCE_SPEED = {True: 2e12, False: 3e10}
_INFERENCE_BATCH = 500
# Timing a network (nfe.engine.latency): building it, with its pruning; images in all turns, warm
# passes included, of up to two forms; what is there in memory over the weights of all.
_BUILDING_SECONDS = 15
_TIMED_IMAGES = 2 * 4 * 6 * (1 + 128)
_DEPLOYED = 1.25
# Sets of corrupted test images: kinds times severities. Their module needs PyTorch, plans do not.
CORRUPTED_SETS = 40
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


# What the table has not, by key.
_counted: dict[str, Cost] = {}


def cost(run: Run) -> Cost:
    """Return what a run takes that trains itself: from the table, or else counted now."""
    name = costs.key(run)
    if name in costs.table():
        return costs.table()[name]
    if name not in _counted:
        from nfe.cluster.counting import count

        _counted[name] = count(run)
    return _counted[name]


def training_images(run: Run) -> int:
    """Return how many training images the run's data have, held-out ones included."""
    card = run.card
    return card.classes * (card.images_per_class or datasets.dataset(card.name).images_per_class)


def training_macs(run: Run) -> float:
    """Return the multiply-adds of a run's training; 0 where it combines others."""
    if run.members():
        return 0.0
    return (
        cost(run).step_macs * training_images(run) * run.epochs * run.method_settings().trainings()
    )


def seconds(run: Run, device: Device) -> float:
    """Return an estimate of the seconds that a run trains on one device."""
    if run.members():
        return 0.0
    trained = run.epochs * run.method_settings().trainings()
    # A step takes as many times a single network's launches as it takes its multiply-adds.
    networks = max(1.0, cost(run).step_macs / cost(costs.plain(run)).step_macs)
    steps = trained * math.ceil(training_images(run) / run.recipe.batch_size) * networks
    return max(training_macs(run) / device.speed(run.precision), steps * device.step_seconds)


def restarts(minutes: int, limit: int) -> int:
    """Return how often a job has to be started again because a time limit cuts it.

    Args:
        minutes: what the whole job is estimated to take.
        limit: minutes that each attempt may take; of these, starting up and saving are lost.
    """
    useful = max(1, limit - _START_MINUTES - _SAVING_MINUTES)
    return max(0, math.ceil((minutes - _START_MINUTES) / useful) - 1) if minutes > limit else 0


def divided(lengths: Iterable[float], devices: int) -> float:
    """Return when the last of several tasks ends; each device takes the next when it is free.

    Args:
        lengths: what each task takes, in the order in which they are begun.
        devices: devices over which they are divided.
    """
    free = [0.0] * devices
    for length in lengths:
        heapq.heapreplace(free, free[0] + length)
    return max(free)


def minutes(runs: Sequence[Run], gpus: int, devices: int = 1) -> int:
    """Return the time limit of a job that makes ``runs`` in this order.

    Args:
        runs: the runs.
        gpus: GPUs that the suite asks for.
        devices: GPUs over which the job divides them: each takes the next run when it is free.
            Runs that share one are reckoned as if they came one after the other.
    """
    longest = divided((seconds(run, modest(gpus)) for run in runs), devices)
    return _START_MINUTES + math.ceil(longest / 60)


def _tested(run: Run) -> int:
    """Return how many images the run's test split has, or as many as the training images."""
    card, dataset = run.card, datasets.dataset(run.dataset)
    most = card.classes * dataset.images_per_class
    official = dataset.test_images * card.classes // datasets.whole(card).classes
    extended = most - training_images(run) if card.test_images == EXTENDED else 0
    return (official or most) + extended


def evaluated_images(run: Run, ood: Sequence[str], corrupted: bool) -> int:
    """Return how many images an evaluation beyond clean accuracy shows to a run's networks.

    Those of its stored predictions are counted: they may not be at hand.

    Args:
        run: the run.
        ood: out-of-distribution sets that fit it.
        corrupted: whether the corrupted test images are asked for.
    """
    tested = _tested(run)
    outside = sum(outliers.count(run.card, name) or tested for name in ood)
    heldout = training_images(run) // splits.ONE_IN
    return tested + heldout + outside + (CORRUPTED_SETS * tested if corrupted else 0)


def evaluation_seconds(run: Run, ood: Sequence[str], corrupted: bool, gpus: int) -> float:
    """Return an estimate of the seconds that an evaluation of a finished run takes."""
    images = evaluated_images(run, ood, corrupted)
    batches = math.ceil(images / _INFERENCE_BATCH)
    device, speed = modest(gpus), _INFERENCE_SPEED[bool(gpus)]
    found = float(_SCORING_SECONDS)
    for network in run.members() or [run]:
        macs = cost(network).inference_macs
        # As many times a single network's launches as its multiply-adds.
        times = max(1.0, macs / cost(costs.plain(network)).inference_macs)
        found += max(images * macs / speed, batches * times * device.step_seconds)
    return found


def evaluation_minutes(
    runs: Sequence[Run], ood: Mapping[str, Sequence[str]], corrupted: bool, gpus: int
) -> int:
    """Return the time limit of a job that evaluates finished runs one after the other.

    Args:
        runs: the runs.
        ood: each run's out-of-distribution sets, by the run's name.
        corrupted: whether the corrupted test images are asked for.
        gpus: GPUs that the job asks for.
    """
    each = (evaluation_seconds(run, ood[run.name], corrupted, gpus) for run in runs)
    return _START_MINUTES + math.ceil(sum(each) / 60)


def latency_minutes(runs: Iterable[Run], gpus: int) -> int:
    """Return the time limit of a job that measures the latency of the runs' networks."""
    found = 0.0
    for run in (run for group in taking_turns(runs) for run in group.values()):
        macs = sum(cost(network).inference_macs for network in run.members() or [run])
        found += _BUILDING_SECONDS + _TIMED_IMAGES * macs / _INFERENCE_SPEED[bool(gpus)]
    return _START_MINUTES + math.ceil(found / 60)


def latency_mb(runs: Iterable[Run]) -> int:
    """Return the memory of such a job: networks that take turns are there at the same time."""
    return max(
        memory_mb(list(group.values()))
        + math.ceil(_DEPLOYED * sum(_weight_bytes(run) for run in group.values()) / 1e6)
        for group in taking_turns(runs)
    )


def _weight_bytes(run: Run) -> int:
    return sum(cost(network).stored_bytes for network in run.members() or [run])


def combination_minutes(runs: Sequence[Run]) -> int:
    """Return the time limit of a job that combines finished runs: it computes no network."""
    return _START_MINUTES + math.ceil(_SCORING_SECONDS * len(runs) / 60)


def memory_mb(runs: Sequence[Run], finished: bool = False) -> int:
    """Return the memory of a job: the process, its largest data set three times, and scoring.

    Pruning by data looks at many images at once, before training: not where runs are finished.
    """
    data = max(training_images(run) * run.card.channels * run.card.resolution**2 for run in runs)
    return (
        4000
        + math.ceil(3 * data / 1e6)
        + max(0 if finished or run.members() else cost(run).building_mb for run in runs)
    )


def disk_mb(runs: Sequence[Run]) -> int:
    """Return the disk space of finished runs: each one's weights, and its results."""
    return math.ceil(sum(5 + (0 if r.members() else cost(r).stored_bytes / 1e6) for r in runs))
