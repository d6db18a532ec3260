"""Early exit: what it predicts, what it costs, and how its threshold is chosen."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from networks import convnext, slim

from nfe import fission
from nfe.common.errors import InputError
from nfe.evaluation import cost
from nfe.evaluation.early_exit_curve import NEVER, choose_threshold, curve, evaluate
from nfe.splitting.early_exit import exit_macs, predict


def trained_like():
    torch.manual_seed(0)
    net = fission(slim("resnet18"), 3).eval()
    with torch.no_grad():
        for head in net.heads:
            head[2].weight.mul_(8)
    return net, torch.randn(40, 3, 16, 16)


@pytest.mark.parametrize("threshold", [0.0, 0.35, 0.5, 0.9, NEVER])
def test_each_image_stops_where_its_running_ensemble_is_confident(threshold):
    net, x = trained_like()
    logits, exits = predict(net, x, threshold)
    with torch.no_grad():
        every = net(x)
    for row in range(len(x)):
        for k in range(1, 4):
            mean = every[row, :k].mean(dim=0)
            if k == 3 or mean.softmax(0).max() >= threshold:
                break
        assert exits[row] == k
        torch.testing.assert_close(logits[row], mean, rtol=1e-4, atol=1e-5)


def test_the_thresholds_tested_make_a_difference():
    net, x = trained_like()
    counts = [
        torch.bincount(predict(net, x, t)[1], minlength=4).tolist() for t in (0.0, 0.35, NEVER)
    ]
    assert counts[0] == [0, 40, 0, 0]
    assert counts[2] == [0, 0, 0, 40]
    assert 0 < counts[1][1] < 40


@pytest.mark.parametrize("build", [lambda: slim("resnet18"), convnext])
def test_exit_costs_grow_to_the_full_network_s(build):
    net = fission(build(), 3)
    image = torch.randn(1, 3, 32, 32)
    macs = exit_macs(net, image)
    assert macs == sorted(macs)
    assert macs[-1] == cost.inference_macs(net, image)[0]


@given(seed=st.integers(0, 999), threshold=st.floats(0, 1.01))
def test_accuracy_and_macs_agree_with_counting(seed, threshold):
    draws = np.random.default_rng(seed)
    logits, labels = draws.normal(size=(30, 3, 4)) * 3, draws.integers(4, size=30)
    macs, right, spent = [10, 25, 40], 0, 0
    for image, label in zip(logits, labels, strict=True):
        for k in range(1, 4):
            mean = image[:k].mean(axis=0)
            if k == 3 or np.exp(mean - mean.max()).sum() ** -1 >= threshold:
                break
        right, spent = right + (mean.argmax() == label), spent + macs[k - 1]
    point = evaluate(logits, labels, macs, threshold)
    assert point.accuracy == pytest.approx(100 * right / 30)
    assert point.macs == pytest.approx(spent / 30)


@given(seed=st.integers(0, 999), loss=st.floats(0, 20))
def test_the_chosen_threshold_is_the_cheapest_that_keeps_the_accuracy(seed, loss):
    draws = np.random.default_rng(seed)
    logits, labels = draws.normal(size=(40, 3, 4)), draws.integers(4, size=40)
    logits[np.arange(40), :, labels] += 1.5
    macs = [10, 25, 40]
    full = evaluate(logits, labels, macs, NEVER)
    chosen = choose_threshold(logits, labels, macs, loss)
    assert chosen.accuracy >= full.accuracy - loss
    assert chosen == evaluate(logits, labels, macs, chosen.threshold)
    for threshold in np.linspace(0, 1, 23):
        point = evaluate(logits, labels, macs, threshold)
        assert point.macs >= chosen.macs or point.accuracy < full.accuracy - loss


def test_nothing_to_choose_on_is_refused():
    with pytest.raises(InputError, match="0 images"):
        choose_threshold(np.zeros((0, 2, 3)), np.zeros(0, dtype=int), [1, 2])


@given(seed=st.integers(0, 99))
def test_a_curve_ends_in_the_ensemble_and_never_gets_cheaper(seed):
    draws = np.random.default_rng(seed)
    logits, labels = 4 * draws.normal(size=(30, 3, 5)), draws.integers(0, 5, 30)
    points = curve(logits, labels, [10, 20, 40])
    macs = [point[2] for point in points]
    assert macs == sorted(macs)
    assert points[0][1:] == [100 * np.mean(logits[:, 0].argmax(-1) == labels), 10]
    assert points[-1][1:] == [100 * np.mean(logits.mean(1).argmax(-1) == labels), 40]
