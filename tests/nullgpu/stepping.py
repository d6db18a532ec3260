"""A run of each method that takes steps one at a time, on whatever device there is."""

from collections.abc import Iterator

from nfe.engine import datasets
from nfe.engine.method import method_class, method_names
from nfe.engine.precision import default_device, prepare_process
from nfe.engine.run import Run, specify
from nfe.engine.training import READ_EVERY, Trainer

# Long enough that no method changes its phase in the steps that are looked at.
EPOCHS = 1000
METHODS = tuple(method_names())
# Those that train a network themselves.
TRAINED = tuple(name for name in METHODS if method_class(name).member_method is None)
BATCH = 16


def run_of(method: str, precision: str, architecture: str = "wrn-10-1", epochs: int = EPOCHS) -> Run:
    """Return a small run of the method on digits."""
    return specify(
        dataset="digits",
        architecture_name=architecture,
        method=method,
        epochs=epochs,
        precision=precision,
        recipe={"batch_size": BATCH},
    )


def steps(run: Run) -> Iterator[Trainer]:
    """Take one step after the other of the run's first epoch, and yield its trainer after each."""
    prepare_process(1, run.precision)
    trainer = Trainer(run, datasets.load(run.card, None).to(default_device()))
    trainer.network.train()
    for _, images, labels in trainer.batches.epoch(0, 0):
        trainer.step(images, labels)
        yield trainer


__all__ = ["BATCH", "EPOCHS", "METHODS", "READ_EVERY", "TRAINED", "run_of", "steps"]
