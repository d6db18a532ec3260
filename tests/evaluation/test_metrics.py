"""Metrics against independent libraries and closed forms."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, brier_score_loss, log_loss
from torchmetrics.functional.classification import multiclass_calibration_error

from nfe.evaluation import metrics


def _random(seed: int, images: int, members: int, classes: int) -> tuple[np.ndarray, np.ndarray]:
    draws = np.random.default_rng(seed)
    logits = 3 * draws.standard_normal((images, members, classes))
    return logits.astype(np.float16), draws.integers(classes, size=images)


@settings(max_examples=30, deadline=None)
@given(
    st.integers(0, 10_000),
    st.integers(1, 4),
    st.integers(2, 7),
    st.sampled_from(["logits", "probabilities"]),
)
def test_metrics_agree_with_other_libraries(seed, members, classes, combine):
    logits, labels = _random(seed, 60, members, classes)
    exact = torch.from_numpy(logits.astype(np.float64))
    rules = {"logits": exact.mean(1).softmax(-1), "probabilities": exact.softmax(-1).mean(1)}
    probabilities = rules[combine]
    p, every = probabilities.numpy(), np.arange(classes)
    ours = metrics.metrics(logits, labels, combine)
    assert ours["accuracy"] == pytest.approx(100 * accuracy_score(labels, p.argmax(-1)))
    assert ours["nll"] == pytest.approx(log_loss(labels, p, labels=every))
    assert ours["brier"] == pytest.approx(
        brier_score_loss(labels, p, labels=every, scale_by_half=False)
    )
    theirs = multiclass_calibration_error(
        probabilities, torch.from_numpy(labels), classes, n_bins=15, norm="l1"
    )
    assert ours["ece"] == pytest.approx(float(theirs), abs=1e-6)


def test_ece_bins_are_closed_on_the_right():
    # Confidence exactly 0.6 = 9/15 belongs to the bin (8/15, 9/15], together with 0.55.
    p = np.array([[0.6, 0.4], [0.55, 0.45]])
    together = abs((1 - 0.6) + (0 - 0.55)) / 2
    assert metrics.ece(np.log(p), np.array([0, 1])) == pytest.approx(together)


def test_a_certain_and_correct_prediction_scores_perfectly():
    logits = np.array([[[60.0, 0.0]], [[0.0, 60.0]]], dtype=np.float16)
    scores = metrics.metrics(logits, np.array([0, 1]), "logits")
    assert (scores["accuracy"], scores["disagreement"]) == (100.0, None)
    assert scores["nll"] == pytest.approx(0, abs=1e-12)
    assert scores["ece"] == pytest.approx(0, abs=1e-12)
    assert scores["brier"] == pytest.approx(0, abs=1e-12)


def test_disagreement_is_the_mean_over_pairs():
    votes = np.array([[0, 0, 1], [0, 1, 2], [2, 2, 2], [1, 1, 1]])
    logits = np.eye(3)[votes]
    # Pairs (0,1), (0,2), (1,2) disagree on 1, 2 and 2 of 4 images.
    assert metrics.disagreement(logits) == pytest.approx((1 + 2 + 2) / 12)


def test_per_image_values_rebuild_the_metrics():
    logits, labels = _random(3, 200, 3, 5)
    scores = metrics.metrics(logits, labels, "probabilities")
    stored = metrics.per_image(logits, labels, "probabilities")
    assert 100 * stored["correct"].mean() == pytest.approx(scores["accuracy"])
    assert stored["nll"].mean() == pytest.approx(scores["nll"], rel=1e-6)
    member = [100 * np.mean(stored["votes"][:, m] == labels) for m in range(3)]
    assert member == pytest.approx(scores["member_accuracy"])


def test_a_curve_has_the_stored_logits_digits_where_float16_holds_them():
    draws = np.random.default_rng(0)
    logits = draws.normal(scale=5, size=(50, 3, 4)).astype(np.float32)
    labels = draws.integers(4, size=50)
    stored = torch.from_numpy(logits).half().numpy()
    combined = metrics.combined_log_probabilities(stored, "probabilities")
    expected = metrics.accuracy(combined, labels), metrics.nll(combined, labels)
    assert metrics.curve(logits, labels, "probabilities") == expected
    large = logits * np.float32(1e5)
    exact = metrics.combined_log_probabilities(large.astype(np.float64), "probabilities")
    assert metrics.curve(large, labels, "probabilities") == (
        metrics.accuracy(exact, labels),
        metrics.nll(exact, labels),
    )
    large[3, 1, 2] = np.inf
    assert np.isnan(metrics.curve(large, labels, "logits")).all()
