"""A finished run's network, for use in Python."""

from pathlib import Path

import torch
from torch import Tensor, nn

from nfe.data import Card
from nfe.data.class_names import class_names
from nfe.engine import prediction
from nfe.engine.batches import Normalizer


class RunNetwork(nn.Module):
    """A finished run's network, or those that it combines: uint8 images → logits.

    Attributes:
        classes: the classes' names, in the order of the logits.
        combine: how members become one prediction: averaged ``"logits"`` or ``"probabilities"``.
        parts: the trained networks: one, or those that the run combines.
    """

    def __init__(self, parts: list[nn.Module], card: Card, combine: str) -> None:
        """Keep trained networks.

        Args:
            parts: the networks, logits (batch, members, classes) each.
            card: the facts of their data set.
            combine: the rule of their method.
        """
        super().__init__()
        self.parts = nn.ModuleList(parts)
        self.classes = class_names(card)
        self.combine = combine
        self._card = card
        self.eval()

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (batch, members, classes) of images in 0 … 255, (batch, channels, h, w)."""
        normal = Normalizer(self._card, images.device)(images)
        return torch.cat([part(normal) for part in self.parts], dim=1)

    def probabilities(self, images: Tensor) -> Tensor:
        """Return the ensemble's probabilities (batch, classes), by the method's own rule."""
        logits: Tensor = self(images).float()
        if self.combine == "logits":
            return logits.mean(dim=1).softmax(dim=-1)
        return logits.softmax(dim=-1).mean(dim=1)


def load_run(run: str | Path, root: str | Path = ".", device: str = "cpu") -> RunNetwork:
    """Return the trained network of a finished run, in evaluation mode.

    Args:
        run: a run's folder, made by hand or in ``results/SUITE/runs``, or the name of a run in
            one of the suites.
        root: where ``results`` and ``artifacts`` stand: the repository.
        device: where the network goes.

    Raises:
        InputError: there is no such run, or its weights are not at hand (``dvc pull``).
    """
    found, folders = prediction.find(str(run), Path(root))
    parts = list(prediction.networks(found, folders, torch.device(device)))
    return RunNetwork(parts, found.card, found.build_method().combine)
