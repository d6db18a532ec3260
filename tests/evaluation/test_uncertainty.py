"""Detection, selection and temperature: against closed forms and independent implementations."""

import importlib.util
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import log_softmax, softmax
from sklearn.metrics import roc_auc_score, roc_curve

from nfe.evaluation import uncertainty
from nfe.evaluation.metrics import nll


def theirs(name):
    """Return a module of torch-uncertainty's metrics without its trainers."""
    package = importlib.util.find_spec("torch_uncertainty").submodule_search_locations[0]
    path = Path(package, "metrics", "classification", f"{name}.py")
    spec = importlib.util.spec_from_file_location(f"theirs_{name}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def logits(seed, images=400, members=3, classes=10, scale=2.0):
    draws = np.random.default_rng(seed)
    return scale * draws.standard_normal((images, members, classes))


@pytest.mark.parametrize("combine", ["logits", "probabilities"])
def test_scores_are_what_their_definitions_say(combine):
    z = logits(0)
    found = uncertainty.scores(z, combine)
    members = softmax(z, axis=-1)
    mean = members.mean(axis=1)
    together = mean if combine == "probabilities" else softmax(z.mean(axis=1), axis=-1)
    assert np.exp(-found["max_probability"]) == pytest.approx(together.max(axis=-1))
    assert found["entropy"] == pytest.approx(-(together * np.log(together)).sum(axis=-1))
    # Mutual information is the mean divergence of the members from their mean.
    divergence = (members * np.log(members / mean[:, None])).sum(axis=-1).mean(axis=1)
    assert found["mutual_information"] == pytest.approx(divergence)
    assert "mutual_information" not in uncertainty.scores(z[:, :1], combine)


def test_members_that_agree_have_no_mutual_information():
    same = np.repeat(logits(1, members=1), 4, axis=1)
    assert uncertainty.scores(same, "logits")["mutual_information"] == pytest.approx(0, abs=1e-12)


def shifted(seed, by, digits=None):
    draws = np.random.default_rng(seed)
    inside, outside = draws.standard_normal(500), by + draws.standard_normal(300)
    return (inside, outside) if digits is None else (inside.round(digits), outside.round(digits))


@pytest.mark.parametrize("digits", [None, 1])
@pytest.mark.parametrize("by", [0, 1, 10])
def test_detection_is_that_of_scikit_learn_ties_included(by, digits):
    inside, outside = shifted(2, by, digits)
    outliers = np.repeat([0, 1], [500, 300])
    both = np.concatenate([inside, outside])
    auroc = uncertainty.auroc(inside, outside)
    assert auroc == pytest.approx(roc_auc_score(outliers, both))
    wins = (outside[:, None] > inside).mean() + 0.5 * (outside[:, None] == inside).mean()
    assert auroc == pytest.approx(wins)
    passing, accepted, _ = roc_curve(1 - outliers, -both, drop_intermediate=False)
    assert uncertainty.fpr95(inside, outside) == pytest.approx(passing[accepted >= 0.95].min())


def test_fpr95_is_that_of_torch_uncertainty():
    inside, outside = shifted(3, 1)
    # There the images that must pass are the positive ones, of higher score.
    reference = theirs("fpr").FPR95(pos_label=1)
    both = torch.tensor(np.concatenate([-inside, -outside]))
    reference.update(both, torch.tensor(np.repeat([1, 0], [500, 300])))
    found = float(reference.compute())
    assert uncertainty.fpr95(inside, outside) == pytest.approx(found, abs=1e-6)


def test_normal_scores_have_the_closed_forms():
    draws = np.random.default_rng(4)
    inside, outside = draws.standard_normal(20000), 1.5 + draws.standard_normal(20000)
    phi = torch.distributions.Normal(0, 1).cdf
    assert uncertainty.auroc(inside, outside) == pytest.approx(
        float(phi(torch.tensor(1.5 / math.sqrt(2)))), abs=0.01
    )
    assert uncertainty.fpr95(inside, outside) == pytest.approx(
        float(phi(torch.tensor(1.6449 - 1.5))), abs=0.02
    )


def test_aurc_by_hand_and_for_perfect_and_worst_order():
    score = np.array([0.1, 0.2, 0.3, 0.4])
    correct = np.array([True, False, True, False])
    assert uncertainty.aurc(score, correct) == pytest.approx((0 + 1 / 2 + 1 / 3 + 2 / 4) / 4)
    best = np.array([True, True, False, False])
    assert uncertainty.aurc(score, best) == pytest.approx((0 + 0 + 1 / 3 + 2 / 4) / 4)
    assert uncertainty.aurc(score, ~best) == pytest.approx((1 + 1 + 2 / 3 + 2 / 4) / 4)


def test_aurc_is_that_of_torch_uncertainty():
    draws = np.random.default_rng(5)
    p = softmax(logits(5, images=300)[:, 0], axis=-1)
    labels = np.where(draws.random(300) < 0.7, p.argmax(axis=-1), draws.integers(0, 10, 300))
    reference = theirs("risk_coverage").AURC()
    reference.update(torch.tensor(p), torch.tensor(labels))
    score, correct = -p.max(axis=-1), p.argmax(axis=-1) == labels
    # There by the trapezoidal rule from coverage 1/n on: half of the first and the last point.
    ends = (1.0 - correct[score.argmin()] + 1 - correct.mean()) / 2
    wanted = (300 * uncertainty.aurc(score, correct) - ends) / 299
    assert float(reference.compute()) == pytest.approx(wanted, abs=1e-6)


@given(st.lists(st.tuples(st.integers(0, 2), st.booleans()), min_size=1, max_size=7))
def test_aurc_among_equal_scores_is_the_mean_over_their_orders(images):
    score = np.array([s for s, _ in images], dtype=float)
    correct = np.array([c for _, c in images])
    draws = np.random.default_rng(0)
    values = []
    for _ in range(400):
        order = np.lexsort((draws.random(len(score)), score))
        errors = np.cumsum(~correct[order])
        values.append(np.mean(errors / np.arange(1, len(score) + 1)))
    spread = 5 * np.std(values) / 20 + 1e-9
    assert uncertainty.aurc(score, correct) == pytest.approx(np.mean(values), abs=spread)


@pytest.mark.parametrize("temperature", [0.4, 1.0, 2.5])
def test_the_temperature_of_a_distorted_model_is_found(temperature):
    draws = np.random.default_rng(6)
    z = logits(6, images=20000)[:, 0]
    labels = (softmax(z, axis=-1).cumsum(axis=-1) < draws.random((20000, 1))).sum(axis=-1)
    found = uncertainty.fit_temperature(log_softmax(temperature * z, axis=-1), labels)
    assert found == pytest.approx(temperature, rel=0.05)


def test_at_the_fitted_temperature_the_gradient_vanishes():
    draws = np.random.default_rng(7)
    z = log_softmax(logits(7)[:, 0], axis=-1)
    labels = np.where(draws.random(400) < 0.6, z.argmax(axis=-1), draws.integers(0, 10, 400))
    found = uncertainty.fit_temperature(z, labels)
    p = softmax(z / found, axis=-1)
    # d NLL / d (1/T): the mean logit expected minus the label's.
    gradient = np.mean((p * z).sum(axis=-1) - z[np.arange(400), labels])
    assert gradient == pytest.approx(0, abs=1e-6)
    assert nll(uncertainty.scaled(z, found), labels) <= nll(z, labels)


def test_scaling_changes_no_class_and_one_changes_nothing():
    z = log_softmax(logits(8)[:, 0], axis=-1)
    assert uncertainty.scaled(z, 1.0) == pytest.approx(z)
    for temperature in uncertainty.TEMPERATURES:
        assert np.array_equal(uncertainty.scaled(z, temperature).argmax(axis=-1), z.argmax(axis=-1))


def test_all_right_ends_at_the_bound():
    z = log_softmax(logits(9)[:, 0], axis=-1)
    found = uncertainty.fit_temperature(z, z.argmax(axis=-1))
    assert found == pytest.approx(uncertainty.TEMPERATURES[0], rel=0.01)
