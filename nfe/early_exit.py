"""Early exit: stop at the first exit that is confident enough.

At exit k an image's prediction is the ensemble of exits 1 to k, and its confidence the largest
class probability. Below the threshold the image goes on; the last exit always answers.
"""

import copy
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from scipy.special import softmax
from torch import Tensor

from nfe.engine.cost import MacCounter
from nfe.engine.errors import InputError
from nfe.engine.evaluation import Array


class Exiting(Protocol):
    """A network whose exits leave a trunk one after another; see ``nfe.network.FissionNetwork``."""

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


@dataclass(frozen=True)
class Point:
    """What a threshold gives: accuracy in percent and mean MACs per image."""

    threshold: float
    accuracy: float
    macs: float


def evaluate(logits: Array, labels: Array, macs: list[int], threshold: float) -> Point:
    """Return accuracy and mean MACs of early exit at ``threshold``, from stored logits.

    Args:
        logits: (images, exits, classes), exit 1 first.
        labels: (images,).
        macs: what stopping at each exit costs, see ``exit_macs``.
        threshold: confidence that ends the computation of an image.
    """
    means, confidence = _running(logits)
    sure = confidence >= threshold
    sure[:, -1] = True
    stop = sure.argmax(axis=1)
    votes = means[np.arange(len(labels)), stop].argmax(axis=-1)
    accuracy = 100 * float(np.mean(votes == labels))
    return Point(threshold, accuracy, float(np.mean(np.asarray(macs)[stop])))


def choose_threshold(logits: Array, labels: Array, macs: list[int], loss: float = 0.0) -> Point:
    """Return the cheapest threshold that costs at most ``loss`` points of accuracy.

    Chosen on held-out images against the full ensemble's accuracy there; every confidence
    that occurs is a candidate, and 1.01 (never stop early) is always allowed.

    Args:
        logits: held-out (images, exits, classes).
        labels: (images,).
        macs: what stopping at each exit costs.
        loss: accuracy that may be lost, in percentage points.

    Raises:
        InputError: there is no image, or ``loss`` is negative.
    """
    if len(labels) == 0 or loss < 0:
        raise InputError(f"{len(labels)} images, loss {loss}: allowed: 1 or more, from 0")
    full = evaluate(logits, labels, macs, NEVER)
    candidates = np.unique(_running(logits)[1])
    points = [evaluate(logits, labels, macs, float(value)) for value in candidates]
    good = [point for point in points if point.accuracy >= full.accuracy - loss]
    return min([full, *good], key=lambda point: (point.macs, point.threshold))


# No confidence reaches it.
NEVER = 1.01


def _running(logits: Array) -> tuple[Array, Array]:
    """Return the mean logits of exits 1 to k, for every k, and their confidences."""
    exits = logits.shape[1]
    means = logits.astype(np.float64).cumsum(axis=1) / np.arange(1, exits + 1)[:, None]
    confidence: Array = softmax(means, axis=-1).max(axis=-1)
    return means, confidence
