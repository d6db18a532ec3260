"""Which methods work with which networks: each built and tried on a few random images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from nfe.backbones import Architecture
from nfe.common.errors import InputError
from nfe.common.seeds import generator, global_stream
from nfe.data import Card, Split
from nfe.engine import plugin
from nfe.engine.batches import example
from nfe.method.context import Context
from nfe.method.interface import method_class
from nfe.method.recipe import recipe_of
from nfe.method.step import Step

_EACH = 2
_MOMENT = Step(0, 1000, 100)


@dataclass(frozen=True)
class Size:
    """Images and classes to try networks with."""

    channels: int = 3
    classes: int = 5
    resolution: int = 32

    def card(self) -> Card:
        """Return the facts of such images."""
        return Card(
            name="random",
            resolution=self.resolution,
            channels=self.channels,
            classes=self.classes,
            mean=(0.5,) * self.channels,
            std=(0.25,) * self.channels,
            padding=0,
            flip=False,
            batch_size=_EACH * self.classes,
            content_hash="",
        )

    def split(self) -> Split:
        """Return random images of every class."""
        rows = _EACH * self.classes
        shape = (rows, self.channels, self.resolution, self.resolution)
        draws = generator("cpu", 0, "fits")
        images = torch.randint(256, shape, generator=draws, dtype=torch.uint8)
        return Split(images, torch.arange(rows) % self.classes)


def refusal(method: str, architecture: Architecture, size: Size) -> str | None:
    """Return why a method, with its default settings, refuses a network; None where it works.

    It works where its network is built, predicts, and has a loss with a gradient.

    Args:
        method: the method's name.
        architecture: the network.
        size: images and classes.
    """
    card, split = size.card(), size.split()
    context = Context(
        architecture=architecture,
        channels=size.channels,
        classes=size.classes,
        resolution=size.resolution,
        seed=0,
        example=lambda each: example(card, split, each, generator("cpu", 0, "example")),
    )
    try:
        made = method_class(method)().resolved(architecture)
        with global_stream(0, "initialization"):
            network = made.network(context)
        recipe = recipe_of(card.batch_size, architecture.optimizer, {})
        plugin.check(made, network, card, split, recipe, _MOMENT)
    except InputError as error:
        return str(error).removeprefix(f"architecture {architecture.name!r}: ")
    return None


def markdown(
    methods: Sequence[str], architectures: Sequence[Architecture], size: Size = Size()
) -> str:
    """Return a table of methods and networks, and below it the sentences of those that refuse."""
    sentences: dict[str, int] = {}
    rows = []
    for method in methods:
        cells = []
        for architecture in architectures:
            said = refusal(method, architecture, size)
            cells.append("works" if said is None else f"no ({_number(sentences, said)})")
        rows.append([f"`{method}`", *cells])
    head = ["method", *(f"`{architecture.name}`" for architecture in architectures)]
    lines = ["| " + " | ".join(row) + " |" for row in (head, ["---"] * len(head), *rows)]
    notes = [f"{number}. {said}" for said, number in sentences.items()]
    return "\n".join([*lines, *([""] if notes else []), *notes])


def _number(sentences: dict[str, int], said: str) -> int:
    return sentences.setdefault(said, len(sentences) + 1)
