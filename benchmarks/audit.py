"""What each departure of the public reference code does to accuracy.

    python benchmarks/audit.py digits
    python benchmarks/audit.py tiny-imagenet    (prepared at 32 pixels: docs/datasets/README.md)
    python benchmarks/audit.py tiny-imagenet --device cuda --bundle images.npz --workers 12
    python benchmarks/audit.py costs

Same seeds and batches for all (audit_departures.py), so differences are paired. Several trainings
run at once in processes; each run's row is written as it ends, and what stands is not made again.
Writes, beside this file or in --output, audit_TASK.csv (one row a run), audit_TASK_images.npz
(what each run makes of each test image), audit_TASK_differences.csv and audit_TASK.json
(configuration and environment); for costs audit_cost.csv (departures that change costs).
"""

import argparse
import contextlib
import logging
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from audit_departures import (
    SETTINGS,
    SPARSITY,
    THREE_EXITS,
    TWO_EXITS,
    Built,
    Setting,
    Start,
    with_late_stride,
)
from audit_record import Record, read_rows
from audit_tables import DIFFERENCE_COLUMNS, difference_rows, filled, markdown

from nfe import data as datasets
from nfe import fission
from nfe.backbones import Backbone, architecture
from nfe.common.errors import CollapseError, DivergenceError, InputError, Interrupted
from nfe.common.files import write_bytes, write_csv
from nfe.common.precision import autocast, exact, prepare_process, usable_threads
from nfe.common.seeds import global_stream
from nfe.data import bundle
from nfe.engine import inference
from nfe.engine.batches import TrainingBatches
from nfe.engine.environment import environment
from nfe.engine.pool import perform_all, shared_gpu
from nfe.evaluation import cost, metrics
from nfe.losses import fission_loss
from nfe.method import Recipe, Step
from nfe.report.statistics import Array
from nfe.splitting.heads import draw_heads

_log = logging.getLogger("audit")

FOLDER = Path(__file__).parent


@dataclass(frozen=True)
class Task:
    """What is trained, on what, and how.

    Attributes:
        name: in file names.
        card: the images.
        architecture: the backbone's name.
        recipe: optimizer and schedule.
        precision: arithmetic of the forward and backward pass.
        epochs: epochs of a run.
        seeds: how many, unless the command line says otherwise.
        tiers: settings in the order in which they are made, tier by tier.
        separate_heads: whether each exit's head is drawn separately, as in version 2 of NFE, or
            all start as copies of one.
    """

    name: str
    card: datasets.Card
    architecture: str
    recipe: Recipe
    precision: str
    epochs: int
    seeds: int
    tiers: tuple[tuple[Setting, ...], ...]
    separate_heads: bool

    @property
    def order(self) -> list[str]:
        """The settings' names, as the table has them."""
        return [setting.name for tier in self.tiers for setting in tier]

    def runs(self, seeds: int) -> list[tuple[str, int]]:
        """Return (setting, seed) in the order of making: in each tier the first seeds first."""
        return [(s.name, seed) for tier in self.tiers for seed in range(seeds) for s in tier]

    def configuration(self, seeds: int) -> dict[str, Any]:
        """Return what decides the numbers, as JSON values."""
        return {
            "dataset": self.card.name,
            "resolution": self.card.resolution,
            "num_classes": self.card.classes,
            "images_per_class": self.card.images_per_class,
            "architecture": self.architecture,
            "epochs": self.epochs,
            "seeds": list(range(seeds)),
            "recipe": {**vars(self.recipe), "milestones": list(self.recipe.milestones)},
            "precision": self.precision,
            "threads": 1,
            "snip_sparsity": SPARSITY,
            "separate_heads": self.separate_heads,
        }


TASKS = {
    task.name: task
    for task in (
        Task(
            name="digits",
            card=datasets.card("digits"),
            architecture="wrn-10-1",
            recipe=Recipe(32),
            precision="float32",
            epochs=20,
            seeds=4,
            tiers=(tuple(THREE_EXITS),),
            separate_heads=False,
        ),
        Task(
            name="tiny-imagenet",
            card=datasets.card("tiny-imagenet", 32, 20, 250),
            architecture="wrn-10-2",
            recipe=Recipe(128),
            precision="bfloat16",
            epochs=20,
            seeds=5,
            tiers=(tuple(THREE_EXITS), tuple(TWO_EXITS)),
            separate_heads=True,
        ),
    )
}


@dataclass(frozen=True)
class Images:
    """Where images are read from.

    Attributes:
        bundle: a file with the images that some suites use, in place of a root.
        root: folder of prepared data (default: ``data``).
    """

    bundle: Path | None = None
    root: Path | None = None

    def load(self, card: datasets.Card) -> datasets.Data:
        """Return the images, on the CPU.

        Raises:
            InputError: they are not there.
        """
        if self.bundle is not None:
            return bundle.load(self.bundle, card)
        return datasets.load(card, self.root)


# --- Training and measurement --------------------------------------------------------------


@dataclass(frozen=True)
class Outcome:
    """A run's row, and ``evaluation.per_image`` of its test images; None where there are none."""

    row: dict[str, Any]
    per_image: dict[str, Array] | None = None


def train(task: Task, built: Built, data: datasets.Data, seed: int) -> list[Array]:
    """Train by our recipe on the images' device; return the test images' logits of every epoch.

    Raises:
        DivergenceError: logits are not finite.
    """
    recipe, device = task.recipe, data.train.images.device
    network = built.network.to(device, memory_format=torch.channels_last)
    masked = [(network.get_parameter(n), mask.to(device)) for n, mask in built.masks.items()]
    batches = TrainingBatches(data.card, data.train, recipe.batch_size, seed)
    # PyTorch's own, as in every release of these numbers: the engine's rounds otherwise.
    optimizer = torch.optim.SGD(
        network.parameters(),
        lr=recipe.lr,
        momentum=recipe.momentum,
        nesterov=recipe.nesterov,
        weight_decay=recipe.weight_decay,
    )
    curve, steps = [], task.epochs * batches.per_epoch
    for epoch in range(task.epochs):
        network.train()
        for number, x, y in batches.epoch(epoch):
            step = Step(epoch * batches.per_epoch + number, steps, batches.per_epoch)
            optimizer.param_groups[0]["lr"] = recipe.learning_rate(step)
            with autocast(task.precision, device):
                logits = network(x)
            loss = fission_loss(exact(logits), y)
            optimizer.zero_grad()
            loss.backward()
            for weight, mask in masked:
                weight.grad.mul_(mask)
            optimizer.step()
        curve.append(inference.predict(network, data.card, data.test))
    return curve


def run(
    task: Task, cpu: datasets.Data, data: datasets.Data, setting: Setting, seed: int
) -> Outcome:
    """Train one setting with one seed.

    Args:
        task: the task.
        cpu: the images on the CPU, from which networks are made.
        data: the images on the device that trains.
        setting: what is trained.
        seed: the seed.
    """
    row = {"setting": setting.name, "compared_with": setting.compared_with, "seed": seed}
    try:
        built = setting.build(Start(task.architecture, cpu, seed), setting.exits)
        if task.separate_heads:
            draw_heads(list(built.network.heads), seed)
        image = torch.zeros(1, cpu.card.channels, cpu.card.resolution, cpu.card.resolution)
        nonzero, executed = cost.inference_macs(built.network, image)
        logits = train(task, built, data, seed)
    except CollapseError:
        return Outcome({**row, "status": "collapsed"})
    except DivergenceError:
        return Outcome({**row, "status": "failed"})
    labels = cpu.test.labels.numpy()
    curve = [metrics.metrics(found, labels, "logits") for found in logits]
    row |= {
        "status": "ok",
        "accuracy": f"{curve[-1]['accuracy']:.2f}",
        "nll": f"{curve[-1]['nll']:.4f}",
        "ece": f"{curve[-1]['ece']:.4f}",
        "best_test_accuracy": f"{max(epoch['accuracy'] for epoch in curve):.2f}",
        "best_test_nll": f"{min(epoch['nll'] for epoch in curve):.4f}",
        "parameters": cost.parameters(built.network),
        "macs_nonzero": nonzero,
        "macs_executed": executed,
    }
    return Outcome(row, metrics.per_image(logits[-1], labels, "logits"))


@contextlib.contextmanager
def stoppable() -> Iterator[None]:
    """Let SIGTERM end the block but not the process, which may hold a GPU.

    Raises:
        Interrupted: it came.
    """

    def stop(number: int, _frame: FrameType | None) -> None:
        raise Interrupted(f"stopped by signal {number}")

    previous = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)


def trainer(task: Task, images: Images, device: str) -> Callable[[tuple[str, int]], Outcome]:
    """Prepare this process and return what makes a run from (setting, seed)."""
    prepare_process(1, task.precision)
    cpu = images.load(task.card)
    data = cpu.to(torch.device(device))

    def make(wanted: tuple[str, int]) -> Outcome:
        name, seed = wanted
        with stoppable():
            return run(task, cpu, data, SETTINGS[name], seed)

    return make


# --- Making and writing --------------------------------------------------------------------


def make(
    task: Task,
    seeds: int,
    record: Record,
    images: Images,
    device: str = "cpu",
    workers: int = 1,
    seconds: float = float("inf"),
) -> int:
    """Make what is missing of a task, write its tables, and return how much is still missing.

    Args:
        task: the task.
        seeds: how many of its seeds, from 0.
        record: what stands; it takes in what is made.
        images: where the images are.
        device: where networks train.
        workers: trainings at once.
        seconds: when to stop, from now.

    Raises:
        InputError: the images or the device are not there, or what stands was made otherwise.
    """
    started = time.monotonic()
    wanted = [key for key in task.runs(seeds) if key not in record.rows]
    if wanted:
        images.load(task.card)
        record.begin(task.configuration(seeds), environment(_usable(device)))
    tasks = [(f"{name}, seed {seed}", (name, seed)) for name, seed in wanted]
    ended = Counter[str]()
    with shared_gpu() if device.startswith("cuda") and wanted else contextlib.nullcontext():
        left = seconds - (time.monotonic() - started)
        prepare = partial(trainer, task, images, device)
        for outcome in perform_all(tasks if left > 0 else [], prepare, workers, left):
            ended[outcome.status] += 1
            if outcome.status == "done":
                record.add(outcome.result.row, outcome.result.per_image)
            gone = time.monotonic() - started
            about = f"{outcome.status} in {outcome.seconds:.1f} s {outcome.reason}"
            number = f"{ended.total()} of {len(wanted)}"
            _log.info("%.0f s, %s: %s: %s", gone, number, outcome.name, about)
    write_csv(record.path("_differences.csv"), DIFFERENCE_COLUMNS, difference_rows(record))
    return len(wanted) - ended["done"]


def _usable(device: str) -> torch.device:
    """Return a device that is there.

    Raises:
        InputError: it is not.
    """
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise InputError(f"device is {device!r} and PyTorch sees no GPU: allowed here: cpu")
    return torch.device(device)


def cost_rows() -> list[dict[str, Any]]:
    """Return what departures d, g and h cost on networks of the paper's kind."""

    def plain(name: str) -> Backbone:
        # A weight may be drawn as zero, so that the MACs on the others depend on the draw.
        with global_stream(0, "initialization"):
            return architecture(name).build(channels=3, classes=100, resolution=32)

    small, large = "wrn-16-4", "wrn-28-10"
    whole = fission(plain(large), 3, whole=["pointwise"])
    compared = [
        ("", small, "single", plain(small)),
        ("", small, "ours, N = 3", fission(plain(small), 3)),
        ("g", small, "full copies per path, N = 3", fission(plain(small), 3).materialized()),
        ("", large, "ours, N = 3", fission(plain(large), 3)),
        ("d", large, "1×1 whole, N = 3", whole),
        ("", large, "single", plain(large)),
        ("h", large, "single, late stride", with_late_stride(plain(large))),
    ]
    rows = []
    for departure, name, what, network in compared:
        nonzero, executed = cost.inference_macs(network, torch.zeros(1, 3, 32, 32))
        rows.append(
            {
                "departure": departure,
                "architecture": name,
                "network": what,
                "parameters": cost.parameters(network),
                "macs_nonzero": nonzero,
                "macs_executed": executed,
            }
        )
    return rows


def report(record: Record, document: Path | None) -> None:
    """Print a task's table, or put it in its place in the document."""
    differences = read_rows(record.path("_differences.csv"))
    table = markdown(read_rows(record.path(".csv")), differences)
    if document is None:
        print(table)
        return
    text = filled(document.read_text(encoding="utf-8"), record.task, table)
    write_bytes(document, text.encode())


def parser() -> argparse.ArgumentParser:
    """Return the command line's parser."""
    found = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    found.add_argument("task", choices=[*TASKS, "costs"])
    found.add_argument("--seeds", type=int, help="how many, from 0 (default: digits 4, else 5)")
    found.add_argument("--device", default="cpu", help="where networks train")
    found.add_argument("--bundle", type=Path, help="images as gpu_results.py packs them")
    found.add_argument("--data-root", type=Path, help="folder of prepared data (default: data)")
    found.add_argument("--workers", type=int, default=usable_threads(), help="trainings at once")
    found.add_argument("--seconds", type=float, default=float("inf"), help="stop by then")
    found.add_argument("--output", type=Path, default=FOLDER, help="folder of the tables")
    found.add_argument("--document", type=Path, help="put the table there, do not print it")
    return found


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return 1 where runs are missing."""
    arguments = parser().parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    if arguments.task == "costs":
        rows = cost_rows()
        write_csv(arguments.output / "audit_cost.csv", list(rows[0]), rows)
        return 0
    task = TASKS[arguments.task]
    seeds = task.seeds if arguments.seeds is None else arguments.seeds
    try:
        for name, value in (("seeds", seeds), ("workers", arguments.workers)):
            if value < 1:
                raise InputError(f"{name} is {value}: allowed: whole numbers from 1")
        record = Record.read(arguments.output, task.name, task.order)
        missing = make(
            task,
            seeds,
            record,
            Images(arguments.bundle, arguments.data_root),
            arguments.device,
            arguments.workers,
            arguments.seconds,
        )
        report(record, arguments.document)
    except InputError as error:
        sys.exit(f"audit.py: error: {error}")
    if missing:
        _log.warning("%d runs are missing: the same command goes on", missing)
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
