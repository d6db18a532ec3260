"""A run of each method that takes steps one at a time, on whatever device there is."""

from typing import Any

from nfe import data as datasets
from nfe.common.precision import default_device, prepare_process
from nfe.engine.trainer import Trainer
from nfe.method import method_names, settings_class
from nfe.method.settings import combined_method
from nfe.suite.run import Run, specify

# So long that no method changes its phase in the steps that are looked at.
EPOCHS = 1000
# So small that these are steps of one epoch.
BATCH = 8

METHODS = tuple(method_names())
# Those that train a network themselves.
TRAINED = tuple(name for name in METHODS if combined_method(settings_class(name)) is None)


def run_of(
    method: str,
    precision: str,
    architecture: str = "wrn-10-1",
    epochs: int = EPOCHS,
    **settings: Any,
) -> Run:
    """Return a small run of the method on digits."""
    return specify(
        dataset="digits",
        architecture_name=architecture,
        method=method,
        epochs=epochs,
        precision=precision,
        settings=settings,
        recipe={"batch_size": BATCH},
    )


class Stepping:
    """The run's trainer, and steps of its first epoch."""

    def __init__(self, run: Run) -> None:
        prepare_process(1, run.precision)
        self.trainer = Trainer(run, datasets.load(run.card, None).to(default_device()))
        self.trainer.network.train()
        self._batches = self.trainer.batches.epoch(0)

    def take(self, number: int = 1) -> None:
        """Take the next steps, their batches' making included."""
        for _ in range(number):
            _, images, labels = next(self._batches)
            self.trainer.step(images, labels)
