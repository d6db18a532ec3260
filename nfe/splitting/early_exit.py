"""Early exit: stop at the first exit that is confident enough.

At exit k an image's prediction is the ensemble of exits 1 to k, and its confidence the largest
class probability. Below the threshold the image goes on; the last exit always answers. What a
threshold gives on stored logits: ``nfe.evaluation.early_exit_curve``.
"""

import copy
from typing import Any, Protocol

import torch
from torch import Tensor

from nfe.common.macs import MacCounter


class Exiting(Protocol):
    """A network whose exits leave a trunk one after another, as those of ``FissionNetwork``."""

    stem: Any
    exits: int

    def leaves(self, path: int) -> int:
        """Return after which stage an exit's path leaves the trunk."""

    def along(self, path: int, features: Tensor, start: int, stop: int) -> Tensor:
        """Take features through stages ``start`` + 1 to ``stop`` of one path."""

    def branch(self, path: int, trunk: Tensor) -> Tensor:
        """Map what the trunk has where ``path`` leaves it to the exit's logits."""

    def eval(self) -> Any:
        """Switch to evaluation mode."""


@torch.no_grad()
def predict(network: Exiting, x: Tensor, threshold: float) -> tuple[Tensor, Tensor]:
    """Predict with early exit; later paths are computed for undecided images only.

    Args:
        network: the network, in evaluation mode.
        x: images (batch, channels, h, w).
        threshold: confidence in [0, 1] that ends the computation of an image.

    Returns:
        The logits (batch, classes) where each image stopped: the mean over exits 1 to k; and
        k (batch,).
    """
    rows = torch.arange(len(x), device=x.device)
    total = x.new_zeros(len(x), 1)
    trunk, done = network.stem(x), 0
    answered, logits, exits = [], [], torch.zeros_like(rows)
    for path in range(1, network.exits + 1):
        trunk = network.along(network.exits, trunk, done, network.leaves(path))
        done = network.leaves(path)
        total = total + network.branch(path, trunk)
        sure = (total / path).softmax(dim=-1).amax(dim=-1) >= threshold
        stop = sure | (path == network.exits)
        answered.append(rows[stop])
        logits.append(total[stop] / path)
        exits[rows[stop]] = path
        rows, trunk, total = rows[~stop], trunk[~stop], total[~stop]
        if len(rows) == 0:
            break
    return torch.cat(logits)[torch.cat(answered).argsort()], exits


@torch.no_grad()
def exit_macs(network: Exiting, image: Tensor) -> list[int]:
    """Return the MACs on non-zero weights that an image costs that stops at each exit.

    Args:
        network: the network.
        image: one image, (1, channels, h, w).
    """
    measured, macs = copy.deepcopy(network).eval(), []
    with MacCounter() as counter:
        trunk, done = measured.stem(image), 0
        for path in range(1, measured.exits + 1):
            trunk = measured.along(measured.exits, trunk, done, measured.leaves(path))
            done = measured.leaves(path)
            measured.branch(path, trunk)
            macs.append(counter.nonzero)
    return macs
