"""How well a network knows what it does not know: scores, detection, selection, temperature."""

import math

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax, xlogy

from nfe.evaluation.metrics import Array, Combine, combined_log_probabilities, nll

# Where the temperature is looked for. Held-out images that are all right drive it to the end.
TEMPERATURES = (0.05, 20.0)
ACCEPTED = 0.95


def entropies(probabilities: Array) -> Array:
    """Return the entropy along the last axis, in nats."""
    result: Array = -xlogy(probabilities, probabilities).sum(axis=-1)
    return result


def scores(logits: Array, combine: Combine) -> dict[str, Array]:
    """Return scores of each image that are higher the less sure the ensemble is.

    Args:
        logits: (images, members, classes).
        combine: the method's rule.

    Returns:
        Arrays (images,): ``max_probability``, minus the log of the largest class probability
        (Hendrycks & Gimpel 2017); ``entropy`` of the ensemble's probabilities;
        ``mutual_information``, the entropy of the members' mean minus their mean entropy
        (Depeweg et al. 2018), for two members or more.
    """
    together = combined_log_probabilities(logits, combine)
    found = {"max_probability": -together.max(axis=-1), "entropy": entropies(np.exp(together))}
    if logits.shape[1] > 1:
        members = softmax(logits.astype(np.float64), axis=-1)
        mean_entropy = entropies(members).mean(axis=-1)
        found["mutual_information"] = entropies(members.mean(axis=1)) - mean_entropy
    return found


def auroc(inside: Array, outside: Array) -> float:
    """Return the area under the ROC curve of telling images outside by their higher score."""
    from sklearn.metrics import roc_auc_score

    labels = np.repeat([0, 1], [len(inside), len(outside)])
    return float(roc_auc_score(labels, np.concatenate([inside, outside])))


def fpr95(inside: Array, outside: Array) -> float:
    """Return the share of images outside that pass where 95 % of those inside do.

    The threshold is the lowest score at which at least 95 % of the images inside pass.
    """
    threshold = np.sort(inside)[math.ceil(ACCEPTED * len(inside)) - 1]
    return float(np.mean(outside <= threshold))


def aurc(score: Array, correct: Array) -> float:
    """Return the area under the risk-coverage curve (Geifman & El-Yaniv 2017), 0 to 1.

    The mean, over k = 1 … n, of the error rate among the k images of lowest score. Images of
    equal score stand in random order: the expectation over it.

    Args:
        score: (images,), higher where less sure.
        correct: (images,).
    """
    order = np.argsort(score, kind="stable")
    errors = np.cumsum(~correct[order])
    last = np.flatnonzero(np.diff(score[order], append=np.inf) > 0)
    k = np.arange(1, len(score) + 1)
    expected = np.interp(k, np.append(0, last + 1), np.append(0, errors[last]))
    return float(np.mean(expected / k))


def scaled(log_probabilities: Array, temperature: float) -> Array:
    """Return log-probabilities at a temperature: softmax(log p / T).

    Members are combined first, by whichever rule; where their logits are averaged this is
    temperature scaling (Guo et al. 2017) of the mean logits.
    """
    result: Array = log_softmax(log_probabilities / temperature, axis=-1)
    return result


def fit_temperature(log_probabilities: Array, labels: Array) -> float:
    """Return the temperature of the lowest NLL, on held-out images.

    NLL is convex in 1/T, so there is one minimum.

    Args:
        log_probabilities: the ensemble's on held-out images, (images, classes).
        labels: (images,).
    """
    low, high = TEMPERATURES
    found = minimize_scalar(
        lambda inverse: nll(scaled(log_probabilities, 1 / inverse), labels),
        bounds=(1 / high, 1 / low),
        method="bounded",
        options={"xatol": 1e-9},
    )
    return float(1 / found.x)
