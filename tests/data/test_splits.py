"""Held-out images, subsets, and how they stand in a run's identity."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nfe import data as datasets
from nfe.common.errors import InputError
from nfe.common.files import write_json, write_npz
from nfe.data import corruptions, outliers, splits
from nfe.data.base import Data, Split
from nfe.data.class_names import class_names
from nfe.report.comparison import two_runs
from nfe.suite.run import Run, from_identity, specify

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


BIG = np.random.default_rng(0).permutation(np.repeat(np.arange(100), 47))


def official_numbers(labels: np.ndarray) -> Data:
    """Numbered splits of a hundred classes whose test images have numbers of their own."""
    data = numbered(labels)
    test = Split(data.test.images + len(labels), data.test.labels)
    return replace(data, card=datasets.card("cifar100"), test=test)


@given(st.integers(0, 2**32 - 1), st.integers(2, 80))
def test_drawn_classes_are_none_of_the_first_twenty(seed: int, count: int) -> None:
    labels = datasets.labels(datasets.card("cifar100", None, count, None, seed))
    assert len(set(labels.tolist())) == count
    assert labels.tolist() == sorted(labels) and labels[0] >= 20 and labels[-1] < 100
    more = datasets.labels(datasets.card("cifar100", None, min(80, count + 1), None, seed))
    assert set(labels) <= set(more)


def test_the_drawn_classes_are_fixed() -> None:
    """Which they are is part of the results: a frozen stream, and every seed its own."""
    first, second = (
        datasets.labels(datasets.card("tiny-imagenet", 32, 20, 250, seed)).tolist()
        for seed in (1, 2)
    )
    assert first == DRAWN
    assert first != second


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 9), st.integers(2, 12), st.sampled_from([None, 20, 40]))
def test_drawn_classes_are_renumbered_in_order(seed: int, count: int, each: int | None) -> None:
    whole = official_numbers(BIG)
    card = datasets.card("cifar100", None, count, each, seed)
    part, labels = splits.subset(whole, card), datasets.labels(card)
    for name in ("train", "heldout", "test"):
        split, source = getattr(part, name), getattr(whole, name)
        kept = {None: None, 20: {"train": 19, "heldout": 1}, 40: {"train": 38, "heldout": 2}}[each]
        for new, old in enumerate(labels):
            theirs = source.images[source.labels == int(old)].flatten().tolist()
            mine = split.images[split.labels == new].flatten().tolist()
            assert mine == theirs[: (kept or {}).get(name)]


@settings(deadline=None, max_examples=20)
@given(st.sampled_from([None, 3]), st.integers(2, 12), st.integers(20, 44))
def test_an_extended_test_split_has_what_the_subset_leaves_out(
    seed: int | None, count: int, each: int
) -> None:
    whole = official_numbers(BIG)
    plain = splits.subset(whole, datasets.card("cifar100", None, count, each, seed))
    wide = splits.subset(whole, datasets.card("cifar100", None, count, each, seed, "extended"))
    for name in ("train", "heldout"):
        assert torch.equal(getattr(wide, name).images, getattr(plain, name).images)
    # The official images first, as they were; then the others in the order of the data set.
    official = len(plain.test)
    assert torch.equal(wide.test.images[:official], plain.test.images)
    added = wide.test.images[official:].flatten().tolist()
    assert added == sorted(added)
    left = 47 - 47 // 20 - (each - each // 20)
    assert torch.bincount(wide.test.labels).tolist() == [47 + left] * count
    assert len(numbers(wide.test)) == len(wide.test)
    for other in (wide.train, wide.heldout, whole.heldout):
        assert not numbers(wide.test) & numbers(other)
    labels = datasets.labels(wide.card)
    assert BIG[added].tolist() == labels[wide.test.labels[official:]].tolist()


def test_digits_can_be_extended_too() -> None:
    part = datasets.load(datasets.card("digits", None, 4, 20, None, "extended"))
    whole = datasets.load(datasets.card("digits"))
    expected = torch.bincount(whole.train.labels)[:4] - 19 + torch.bincount(whole.test.labels)[:4]
    assert torch.bincount(part.test.labels).tolist() == expected.tolist()


def test_drawn_classes_are_the_same_wherever_images_come_from(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Corrupted, unseen and named: digits drawn from all but 0 and 1."""
    monkeypatch.setattr(splits, "EXPLORED", 2)
    card = datasets.card("digits", None, 4, 20, 1, "extended")
    labels = datasets.labels(card)
    assert class_names(card) == tuple(str(label) for label in labels)
    official = datasets.load(datasets.card("digits", None, 4, 20, 1)).test
    damaged = corruptions.load(card, "contrast", 1)
    assert torch.equal(damaged.labels, official.labels)
    assert torch.equal(damaged.images, corruptions.corrupt(official.images, "contrast", 1))
    unseen = outliers.load(card, "unseen")
    assert set(unseen.labels.tolist()) == set(range(10)) - set(labels.tolist())


def test_models_tested_on_other_images_are_not_compared(tmp_path: Path) -> None:
    base = {"num_classes": 20, "images_per_class": 100, "class_seed": 1}
    variants = [
        run(**base),
        run(**{**base, "images_per_class": 250}),
        run(**{**base, "class_seed": 2}),
        run(**base, test_images="extended"),
        run(**{**base, "images_per_class": 250}, test_images="extended"),
    ]
    for number, variant in enumerate(variants):
        (tmp_path / str(number)).mkdir()
        write_json(tmp_path / str(number) / "config.json", variant.identity())
        write_npz(tmp_path / str(number) / "per_image.npz", {"correct": np.array([True, False])})
    # How many training images there are changes no official test split.
    assert two_runs(tmp_path / "0", tmp_path / "1")["images"] == 2
    for one, other in ((0, 2), (0, 3), (3, 4)):
        with pytest.raises(InputError, match="tested on other images"):
            two_runs(tmp_path / str(one), tmp_path / str(other))


# `datasets.labels` of twenty classes under seed 1, as docs/datasets/tiny-imagenet.md lists them.
DRAWN = [24, 31, 34, 39, 49, 55, 74, 89, 119, 126]
DRAWN += [127, 128, 130, 132, 136, 140, 143, 144, 147, 181]


def test_the_card_lists_the_drawn_classes() -> None:
    card = datasets.card("tiny-imagenet", 32, 20, 250, 1)
    text = (Path(__file__).parents[2] / "docs" / "datasets" / "tiny-imagenet.md").read_text()
    words = " ".join(text.split())
    listed = re.findall(r"(\d+) [A-Za-z -]+ `(n\d{8})`", words)
    assert [int(label) for label, _ in listed] == DRAWN
    assert tuple(wnid for _, wnid in listed) == class_names(card)
    assert class_names(datasets.card("tiny-imagenet"))[DRAWN[0]] == class_names(card)[0]


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
        run(num_classes=20, class_seed=0),
        run(num_classes=20, class_seed=1, images_per_class=250),
        run(num_classes=20, class_seed=1, images_per_class=250, test_images="extended"),
    ]
    assert len({r.digest for r in runs}) == len({r.name for r in runs}) == len(runs)
    assert [r.subset for r in runs] == [
        "all",
        "all",
        "20-classes",
        "21-classes",
        "100-per-class",
        "20-classes-100-per-class",
        "20-classes-drawn-0",
        "20-classes-drawn-1-250-per-class",
        "20-classes-drawn-1-250-per-class-extended-test",
    ]
    assert all(f"_{r.subset}_" in r.name for r in runs if r.subset != "all")
    assert [r.card.classes for r in runs] == [200, 200, 20, 21, 200] + [20] * 4
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
        ({"class_seed": 1}, "class_seed is 1: allowed with num_classes from 2 to 180: .* 200"),
        ({"class_seed": 1, "num_classes": 181}, "num_classes is 181: allowed: 2 to 180 classes"),
        ({"class_seed": -1, "num_classes": 20}, "class_seed is -1: allowed"),
        ({"class_seed": 2**32, "num_classes": 20}, "class_seed is 4294967296: allowed: 0 to"),
        (
            {"class_seed": 1, "num_classes": 2, "dataset": "digits", "resolution": 8},
            "class_seed is 1: not allowed: no classes drawn from all but the first 20 of digits",
        ),
        ({"test_images": "rest"}, "unknown test_images 'rest'"),
        ({"test_images": "extended"}, "test_images is 'extended': allowed for tiny-imagenet where"),
        ({"test_images": "extended", "images_per_class": 500}, "images_per_class 500: allowed"),
        # 475 of 499 images train, as of 500; the one more is held out.
        ({"test_images": "extended", "images_per_class": 499}, "images_per_class 499: allowed"),
        ({"resolution": 48}, "no resolution 48: allowed: 64, 32"),
    ],
)
def test_an_impossible_subset_is_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        run(**changes)
    assert "\n" not in str(caught.value)
