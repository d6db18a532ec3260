"""Training throughput of the engine: images per second, data pipeline included."""

import dataclasses
import itertools
import resource
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch

from nfe.common.errors import InputError
from nfe.common.precision import default_device, prepare_process
from nfe.data import Data, Split
from nfe.engine.environment import device_name
from nfe.engine.trainer import Trainer
from nfe.suite.run import Run

ROUNDS = 5
SECONDS = 3.0
# Of the run whose first steps are measured: long enough for any method's phases, and for what
# sparse training does once in a hundredth of a training.
EPOCHS = 10000


def noise(run: Run, batch: int, pixels: int) -> Data:
    """Return random colour images of 100 classes: time does not depend on what they show."""
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
    meter = Meter(run, batch, pixels)
    rates = [meter.rate(SECONDS) for _ in range(ROUNDS)]
    return {
        "images_per_second": statistics.median(rates),
        "rounds": ROUNDS,
        "rates": rates,
        "peak_memory_bytes": _peak_memory(meter.device),
        "device": device_name(meter.device),
        "threads": run.threads,
        "precision": run.precision,
    }


class Meter:
    """A run on random images that is trained for as long as it is measured.

    Attributes:
        device: where it trains.
        trainer: what trains it.
    """

    def __init__(
        self, run: Run, batch: int, pixels: int, warm_up: int = 3, record: bool = True
    ) -> None:
        """Make the run ready and take ``warm_up`` steps; ``record``: see ``Trainer``."""
        recipe = dataclasses.replace(run.recipe, batch_size=batch)
        self._run = dataclasses.replace(run, recipe=recipe, epochs=EPOCHS)
        self.device = default_device()
        prepare_process(run.threads, run.precision)
        data = noise(run, batch, pixels).to(self.device)
        self.trainer = Trainer(self._run, data, record=record)
        epochs = itertools.count()
        self._batches = itertools.chain.from_iterable(map(self.trainer.batches.epoch, epochs))
        for _ in range(warm_up):
            self.step()

    def step(self) -> None:
        """Take one optimizer step, its batch's making included."""
        _, images, labels = next(self._batches)
        self.trainer.step(images, labels)

    def rate(self, seconds: float) -> float:
        """Return the images per second of about ``seconds`` of training."""
        prepare_process(self._run.threads, self._run.precision)
        return images_per_second(self.step, self._run.recipe.batch_size, self.device, seconds)


def images_per_second(
    step: Callable[[], None], batch: int, device: torch.device, seconds: float
) -> float:
    """Return the rate of a training step, repeated for about ``seconds``."""
    wait = torch.cuda.synchronize if device.type == "cuda" else lambda: None
    wait()
    start, images = time.perf_counter(), 0
    while time.perf_counter() - start < seconds or not images:
        step()
        images += batch
    wait()
    return images / (time.perf_counter() - start)


def _peak_memory(device: torch.device) -> int:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
