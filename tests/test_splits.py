"""Held-out images, subsets, and how they stand in a run's identity."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from nfe.engine import datasets
from nfe.engine.datasets import splits
from nfe.engine.datasets.base import Data, Split
from nfe.engine.errors import InputError
from nfe.engine.run import Run, from_identity, specify

LABELS = st.lists(st.integers(0, 4), min_size=1, max_size=400).map(np.array)


@given(LABELS)
def test_one_in_twenty_of_each_class_is_held_out(labels: np.ndarray) -> None:
    train, heldout = splits.held_out(labels)
    assert sorted([*train, *heldout]) == list(range(len(labels)))
    assert list(train) == sorted(train) and list(heldout) == sorted(heldout)
    for label in set(labels.tolist()):
        assert (labels[heldout] == label).sum() == (labels == label).sum() // 20


def test_the_held_out_images_are_fixed_and_drawn() -> None:
    labels = np.repeat([0, 1], 100)
    _, heldout = splits.held_out(labels)
    assert heldout.tolist() == [13, 16, 21, 37, 97, 108, 125, 152, 172, 176]


def numbered(labels: np.ndarray) -> Data:
    """Splits whose images hold their own number in the official order."""
    card = datasets.card("cifar10")
    train, heldout = splits.held_out(labels)
    parts = [
        Split(torch.from_numpy(index).view(-1, 1, 1, 1), torch.from_numpy(labels[index]))
        for index in (train, heldout, np.arange(len(labels)))
    ]
    return Data(card, *parts)


def numbers(split: Split) -> set[int]:
    return set(split.images.flatten().tolist())


@given(LABELS, st.integers(2, 10), st.integers(20, 60), st.integers(20, 60))
def test_subsets_lie_within_one_another(
    labels: np.ndarray, classes: int, fewer: int, more: int
) -> None:
    fewer, more = sorted((fewer, more))
    whole = numbered(labels)
    small, large = (
        splits.subset(whole, datasets.card("cifar10", None, classes, each))
        for each in (fewer, more)
    )
    for part in ("train", "heldout", "test"):
        inner, outer = getattr(small, part), getattr(large, part)
        assert numbers(inner) <= numbers(outer) <= numbers(getattr(whole, part))
        assert not len(inner) or int(inner.labels.max()) < classes
    for label in range(min(classes, 5)):
        present = int((labels == label).sum())
        held = (small.heldout.labels == label).sum()
        assert held == min(fewer // 20, present // 20)
        assert (small.train.labels == label).sum() == min(
            fewer - fewer // 20, present - present // 20
        )
        assert (small.test.labels == label).sum() == present


def test_a_subset_of_digits_is_a_part_of_digits() -> None:
    whole = datasets.load(datasets.card("digits"))
    part = datasets.load(datasets.card("digits", num_classes=4, images_per_class=40))
    assert torch.bincount(part.train.labels).tolist() == [38] * 4
    assert torch.bincount(part.heldout.labels).tolist() == [2] * 4
    assert len(part.test) == int((whole.test.labels < 4).sum())
    first = whole.train.images[whole.train.labels == 3][:38]
    assert torch.equal(part.train.images[part.train.labels == 3], first)


def run(**changes: object) -> Run:
    values = {"dataset": "tiny-imagenet", "resolution": 32, "epochs": 1, **changes}
    return specify(architecture_name="wrn-10-1", method="single", **values)  # type: ignore[arg-type]


def test_every_subset_and_resolution_is_another_run() -> None:
    runs = [
        run(),
        run(resolution=64),
        run(num_classes=20),
        run(num_classes=21),
        run(images_per_class=100),
        run(num_classes=20, images_per_class=100),
    ]
    assert len({r.digest for r in runs}) == len({r.name for r in runs}) == len(runs)
    assert [r.subset for r in runs] == [
        "all",
        "all",
        "20-classes",
        "21-classes",
        "100-per-class",
        "20-classes-100-per-class",
    ]
    assert [r.card.classes for r in runs] == [200, 200, 20, 21, 200, 20]
    assert all(from_identity(r.identity()) == r for r in runs)


def test_the_whole_set_is_one_run_however_it_is_asked_for() -> None:
    assert run(num_classes=200, images_per_class="500") == run()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_classes": 1}, "num_classes is 1: allowed"),
        ({"num_classes": 201}, "num_classes is 201: allowed for tiny-imagenet: 2 to 200"),
        ({"num_classes": "many"}, "num_classes is 'many'"),
        ({"images_per_class": 19}, "images_per_class is 19: allowed for tiny-imagenet: 20 to 500"),
        ({"images_per_class": 501}, "images_per_class is 501"),
        ({"resolution": 48}, "no resolution 48: allowed: 64, 32"),
    ],
)
def test_an_impossible_subset_is_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        run(**changes)
