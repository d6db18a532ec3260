"""The cards of the methods, as tests read them."""

from functools import cache
from pathlib import Path

import torch
from rivals import context
from torch import nn

from nfe.common.macs import MacCounter
from nfe.evaluation import cost
from nfe.method import DrawsOnCpu, FormsBatches, Method, Phases, Step, method_class

CARDS = Path(__file__).parents[1] / "docs" / "methods"
NAMES = sorted(path.stem for path in CARDS.glob("*.md"))
COLUMNS = ("inference", "non-zero", "training")
# Any run that is long enough for every method's phases.
MOMENT = Step(0, 1000, 100)


def rows(name: str, section: str) -> list[list[str]]:
    """The rows of the table in a section of a card."""
    text = (CARDS / f"{name}.md").read_text().split(f"## {section}\n")[1].split("\n## ")[0]
    lines = [line for line in text.splitlines() if line.startswith("| ")][1:]
    return [[cell.strip().strip("`") for cell in line.strip("|").split("|")] for line in lines]


def costs(method: Method, backbone: str, images: int = 1) -> dict[str, float]:
    """Measured MACs for one image: inference executed and non-zero, and training on it once.

    Methods that take a run's epochs several times over train on it that often. Training is
    measured on a batch of ``images``.
    """
    torch.manual_seed(0)
    network: nn.Module = method.network(context(backbone, classes=100, resolution=32))
    image = torch.randn(1, 3, 32, 32)
    nonzero, executed = cost.inference_macs(network, image)
    inputs, targets = FormsBatches.of(method).training_batch(
        image.repeat(images, 1, 1, 1), torch.zeros(images, dtype=torch.int64), torch.Generator()
    )
    trained, phases = 0.0, Phases.of(method)
    for first, count in phases.kinds(MOMENT):
        phases.before_step(network, first)
        DrawsOnCpu.of(method).draw(network, inputs)
        with MacCounter(executed_only=True) as counter:
            method.loss(network.train(), inputs, targets)[0].backward()
        trained += counter.executed * count / MOMENT.steps
    trained *= method.trainings() / images
    return dict(zip(COLUMNS, (executed, nonzero, trained), strict=True))


@cache
def unit(backbone: str) -> dict[str, float]:
    return costs(method_class("single")(), backbone)
