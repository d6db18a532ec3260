"""Training throughput of the engine: images per second, data pipeline included."""

import dataclasses
import itertools
import resource
import statistics
import time
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from nfe.engine.datasets import Data, Split
from nfe.engine.environment import device_name
from nfe.engine.errors import InputError
from nfe.engine.precision import default_device, prepare_process
from nfe.engine.run import Run
from nfe.engine.training import Trainer

ROUNDS = 5
SECONDS = 3.0


def _noise(run: Run, batch: int, pixels: int) -> Data:
    """Return random images: throughput does not depend on what they show."""
    card = dataclasses.replace(
        run.card,
        resolution=pixels,
        channels=3,
        classes=100,
        padding=4,
        flip=True,
        mean=(0.5, 0.5, 0.5),
        std=(0.25, 0.25, 0.25),
    )
    count = max(4 * batch, 2 * card.classes)
    draws = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (count, 3, pixels, pixels), generator=draws, dtype=torch.uint8)
    split = Split(images, torch.arange(count) % card.classes)
    return Data(card, split, split, split)


def measure(run: Run, batch: int, pixels: int) -> dict[str, Any]:
    """Return images per second (median of rounds) and peak memory of a run's training steps.

    Args:
        run: which method, architecture, precision and threads.
        batch: distinct images per step.
        pixels: side of the images.

    Raises:
        InputError: batch or pixels are below 1.
    """
    if batch < 1 or pixels < 8:
        raise InputError(f"batch {batch}, image {pixels}: allowed: from 1, from 8")
    prepare_process(run.threads)
    device = default_device()
    recipe = dataclasses.replace(run.recipe, batch_size=batch)
    timed = dataclasses.replace(run, recipe=recipe)
    trainer = Trainer(timed, _noise(run, batch, pixels).to(device))
    batches = itertools.chain.from_iterable(trainer.batches.epoch(e) for e in itertools.count())
    for _, images, labels in itertools.islice(batches, 3):
        trainer.step(images, labels)
    rates = [_rate(trainer, batches, batch) for _ in range(ROUNDS)]
    return {
        "images_per_second": statistics.median(rates),
        "rounds": ROUNDS,
        "rates": rates,
        "peak_memory_bytes": _peak_memory(device),
        "device": device_name(device),
        "threads": run.threads,
        "precision": run.precision,
    }


def _rate(trainer: Trainer, batches: Iterator[tuple[int, Tensor, Tensor]], batch: int) -> float:
    start, images_seen = time.perf_counter(), 0
    for _, images, labels in batches:
        trainer.step(images, labels)
        images_seen += batch
        if (elapsed := time.perf_counter() - start) >= SECONDS:
            break
    return images_seen / elapsed


def _peak_memory(device: torch.device) -> int:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
