"""Logits → accuracy, NLL, ECE, Brier score, disagreement.

Everything is computed in float64 from the stored float16 logits, so that a table can be
rebuilt to the last digit from what a run left behind.
"""

import math
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from scipy.special import log_softmax, logsumexp

Array = npt.NDArray[Any]
Combine = Literal["logits", "probabilities"]

BINS = 15


def as_stored(logits: Array) -> Array:
    """Return logits as they are stored: float16, infinite where it does not hold them."""
    with np.errstate(over="ignore"):
        rounded: Array = logits.astype(np.float16)
    return rounded


def curve(logits: Array, labels: Array, combine: Combine) -> tuple[float, float]:
    """Return accuracy and NLL of ``outputs``, for a curve: whatever the logits are.

    From the logits as they would be stored where float16 holds them all, else from float32; NaN
    where one is not finite.
    """
    if not np.isfinite(logits).all():
        return math.nan, math.nan
    rounded = as_stored(logits)
    shown = rounded if np.isfinite(rounded).all() else logits
    combined = combined_log_probabilities(shown, combine)
    return accuracy(combined, labels), nll(combined, labels)


def combined_log_probabilities(logits: Array, combine: Combine) -> Array:
    """Combine members: (images, members, classes) → log-probabilities (images, classes).

    ``logits``: softmax of the mean logits. ``probabilities``: mean of the softmaxes.
    """
    exact = logits.astype(np.float64)
    if combine == "logits":
        result: Array = log_softmax(exact.mean(axis=1), axis=-1)
        return result
    mixture: Array = logsumexp(log_softmax(exact, axis=-1), axis=1) - np.log(exact.shape[1])
    return mixture


def accuracy(log_probabilities: Array, labels: Array) -> float:
    """Return the share of correct top-1 predictions, in percent."""
    return 100 * float(np.mean(log_probabilities.argmax(axis=-1) == labels))


def nll(log_probabilities: Array, labels: Array) -> float:
    """Return the mean negative log-likelihood, in nats."""
    return float(-np.mean(log_probabilities[np.arange(len(labels)), labels]))


def brier(log_probabilities: Array, labels: Array) -> float:
    """Return the mean squared distance to the one-hot label, summed over classes: 0 to 2."""
    error = np.exp(log_probabilities)
    error[np.arange(len(labels)), labels] -= 1
    return float(np.mean(np.sum(error**2, axis=-1)))


def ece(log_probabilities: Array, labels: Array, bins: int = BINS) -> float:
    """Return the expected calibration error (Guo et al. 2017), 0 to 1.

    Equal-width bins on (0, 1], each closed on the right; the gap between accuracy and mean
    confidence, weighted by the share of images in the bin.
    """
    confidence = np.exp(log_probabilities.max(axis=-1))
    correct = log_probabilities.argmax(axis=-1) == labels
    index = bin_index(confidence, bins)
    gap = np.bincount(index, weights=correct - confidence, minlength=bins)
    return float(np.abs(gap).sum() / len(labels))


def bin_index(confidence: Array, bins: int = BINS) -> Array:
    """Return the bin of each confidence: equal widths on (0, 1], each closed on the right."""
    index: Array = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    return index


def disagreement(logits: Array) -> float | None:
    """Return the share of images on which two members predict different classes.

    The mean over all pairs of members; None for a single member.
    """
    return vote_disagreement(logits.argmax(axis=-1))


def vote_disagreement(votes: Array) -> float | None:
    """Return ``disagreement`` from the members' classes, (images, members)."""
    members = votes.shape[1]
    pairs = [(i, j) for i in range(members) for j in range(i)]
    if not pairs:
        return None
    return float(np.mean([np.mean(votes[:, i] != votes[:, j]) for i, j in pairs]))


def metrics(logits: Array, labels: Array, combine: Combine) -> dict[str, Any]:
    """Return every metric of one set of predictions.

    Args:
        logits: (images, members, classes).
        labels: (images,).
        combine: the method's own rule; the other rule's metrics carry the suffix ``_other``.
    """
    other: Combine = "logits" if combine == "probabilities" else "probabilities"
    own = combined_log_probabilities(logits, combine)
    alternative = combined_log_probabilities(logits, other)
    single = [combined_log_probabilities(logits[:, [m]], "logits") for m in range(logits.shape[1])]
    return {
        "accuracy": accuracy(own, labels),
        "nll": nll(own, labels),
        "ece": ece(own, labels),
        "brier": brier(own, labels),
        "disagreement": disagreement(logits),
        "combine": combine,
        "accuracy_other": accuracy(alternative, labels),
        "nll_other": nll(alternative, labels),
        "ece_other": ece(alternative, labels),
        "member_accuracy": [accuracy(p, labels) for p in single],
        "member_nll": [nll(p, labels) for p in single],
        "member_ece": [ece(p, labels) for p in single],
    }


def test_scores(predictions: Mapping[str, Array], combine: Combine) -> dict[str, Any]:
    """Return the test split's part of metrics.json, from stored predictions."""
    logits = predictions["test_logits"]
    found = metrics(logits, predictions["test_labels"], combine)
    return {"members": logits.shape[1], **found}


def heldout_scores(predictions: Mapping[str, Array], combine: Combine) -> dict[str, Any]:
    """Return the held-out split's part of metrics.json, from stored predictions."""
    found = metrics(predictions["heldout_logits"], predictions["heldout_labels"], combine)
    return {f"heldout_{name}": found[name] for name in ("accuracy", "nll", "ece", "brier")}


def per_image(logits: Array, labels: Array, combine: Combine) -> dict[str, Array]:
    """Return what statistics and figures need of each test image.

    ``correct`` (bool), ``nll`` and ``confidence`` (float32) of the ensemble; ``votes``
    (images, members): each member's class.
    """
    log_probabilities = combined_log_probabilities(logits, combine)
    return {
        "correct": log_probabilities.argmax(axis=-1) == labels,
        "nll": -log_probabilities[np.arange(len(labels)), labels].astype(np.float32),
        "confidence": np.exp(log_probabilities.max(axis=-1)).astype(np.float32),
        "votes": logits.argmax(axis=-1).astype(np.uint8 if logits.shape[-1] <= 256 else np.uint16),
    }
