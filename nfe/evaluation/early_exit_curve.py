"""What stopping at the first confident exit gives, from stored logits.

At exit k an image's prediction is the mean logits of exits 1 to k, and its confidence the largest
class probability. Below the threshold the image goes on; the last exit always answers.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import softmax

from nfe.common.errors import InputError
from nfe.evaluation.metrics import Array

# No confidence reaches it.
NEVER = 1.01
# Of a curve: the same for every run, so that seeds can be averaged point by point.
THRESHOLDS = (0.0, *(k / 20 for k in range(4, 20)), 0.97, 0.98, 0.99, 0.995, 0.999, NEVER)


@dataclass(frozen=True)
class Point:
    """What a threshold gives: accuracy in percent and mean MACs per image."""

    threshold: float
    accuracy: float
    macs: float


def evaluate(logits: Array, labels: Array, macs: Sequence[int], threshold: float) -> Point:
    """Return accuracy and mean MACs of early exit at ``threshold``, from stored logits.

    Args:
        logits: (images, exits, classes), exit 1 first.
        labels: (images,).
        macs: what stopping at each exit costs, see ``Method.exit_macs``.
        threshold: confidence that ends the computation of an image.
    """
    means, confidence = _running(logits)
    sure = confidence >= threshold
    sure[:, -1] = True
    stop = sure.argmax(axis=1)
    votes = means[np.arange(len(labels)), stop].argmax(axis=-1)
    accuracy = 100 * float(np.mean(votes == labels))
    return Point(threshold, accuracy, float(np.mean(np.asarray(macs)[stop])))


def choose_threshold(logits: Array, labels: Array, macs: Sequence[int], loss: float = 0.0) -> Point:
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


def curve(logits: Array, labels: Array, macs: Sequence[int]) -> list[list[float]]:
    """Return [threshold, accuracy, mean MACs] for each of ``THRESHOLDS``.

    Args:
        logits: (images, exits, classes), exit 1 first.
        labels: (images,).
        macs: what stopping at each exit costs.
    """
    points = [evaluate(logits, labels, macs, threshold) for threshold in THRESHOLDS]
    return [[point.threshold, point.accuracy, point.macs] for point in points]


def scores(predictions: Mapping[str, Array], metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``early_exit``, the curve on the test split, for a run whose members are exits."""
    if "exit_macs" not in metrics:
        return {}
    logits, labels = predictions["test_logits"], predictions["test_labels"]
    return {"early_exit": curve(logits, labels, metrics["exit_macs"])}


def _running(logits: Array) -> tuple[Array, Array]:
    """Return the mean logits of exits 1 to k, for every k, and their confidences."""
    exits = logits.shape[1]
    means = logits.astype(np.float64).cumsum(axis=1) / np.arange(1, exits + 1)[:, None]
    confidence: Array = softmax(means, axis=-1).max(axis=-1)
    return means, confidence
