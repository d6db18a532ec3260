"""Batches: order, augmentation and normalization."""

import dataclasses

import pytest
import torch
from torchvision.transforms import v2

from nfe import data as datasets
from nfe.common.seeds import derive, generator
from nfe.data import Split
from nfe.engine.batches import Normalizer, TrainingBatches, example

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def digits():
    return datasets.load(datasets.card("digits"))


def test_digits_are_the_stated_split(digits):
    assert [len(s) for s in (digits.train, digits.heldout, digits.test)] == [500, 97, 1200]
    images = digits.train.images.double() / 255
    assert images.mean().item() == pytest.approx(digits.card.mean[0], abs=1e-4)
    assert images.std(correction=0).item() == pytest.approx(digits.card.std[0], abs=1e-4)
    joined = torch.cat([s.images.flatten(1) for s in (digits.train, digits.heldout, digits.test)])
    assert len(torch.unique(joined, dim=0)) == 1797


def test_changed_images_are_refused(digits):
    other = dataclasses.replace(digits.card, content_hash="0" * 64)
    with pytest.raises(ValueError, match="content hash"):
        datasets.load(other)


def test_normalization_equals_torchvision():
    card = dataclasses.replace(
        datasets.card("digits"), channels=3, mean=(0.5, 0.4, 0.3), std=(0.2, 0.3, 0.4)
    )
    images = torch.randint(0, 256, (5, 3, 8, 8), dtype=torch.uint8)
    theirs = v2.Normalize(card.mean, card.std)(v2.ToDtype(torch.float32, scale=True)(images))
    torch.testing.assert_close(Normalizer(card, CPU)(images), theirs)


def _every_crop(image, padding, flip):
    padded = v2.Pad(padding)(image)
    size = image.shape[-1]
    crops = [
        padded[:, y : y + size, x : x + size]
        for y in range(2 * padding + 1)
        for x in range(2 * padding + 1)
    ]
    return crops + [crop.flip(-1) for crop in crops] * flip


@pytest.mark.parametrize("flip", [False, True])
def test_augmentation_draws_every_crop_and_flip_and_nothing_else(flip):
    card = dataclasses.replace(
        datasets.card("digits"), channels=2, padding=1, flip=flip, mean=(0, 0), std=(1, 1)
    )
    image = torch.randint(0, 256, (2, 8, 8), dtype=torch.uint8)
    split = Split(image.repeat(400, 1, 1, 1), torch.zeros(400, dtype=torch.int64))
    [(_, batch, _)] = list(TrainingBatches(card, split, 400, seed=1).epoch(0))
    allowed = {tuple(c.flatten().tolist()) for c in _every_crop(image, 1, flip)}
    drawn = {tuple(c.flatten().tolist()) for c in (batch * 255).round().to(torch.uint8)}
    assert drawn == allowed


def test_an_epoch_can_be_entered_anywhere(digits):
    batches = TrainingBatches(digits.card, digits.train, 32, seed=5)
    whole = list(batches.epoch(3))
    for (n, x, y), (m, u, v) in zip(whole[7:], batches.epoch(3, first=7), strict=True):
        assert n == m
        assert torch.equal(x, u)
        assert torch.equal(y, v)


def test_epochs_see_other_orders_and_no_image_twice(digits):
    batches = TrainingBatches(digits.card, digits.train, 32, seed=5)
    numbered = TrainingBatches(
        digits.card, Split(digits.train.images, torch.arange(500)), 32, seed=5
    )
    first, second = (torch.cat([y for _, _, y in numbered.epoch(e)]) for e in (0, 1))
    assert batches.per_epoch == 15
    assert len(first.unique()) == len(first) == 15 * 32
    assert not torch.equal(first, second)


def test_example_holds_the_asked_number_of_each_class(digits):
    images, labels = example(digits.card, digits.train, 4, generator("cpu", 0, "example"))
    assert images.shape == (40, 1, 8, 8)
    assert torch.bincount(labels).tolist() == [4] * 10


def test_an_example_mixes_its_classes_alike_every_time(digits):
    """Pruners see parts of it, and norms must see many classes at once."""
    first, again, other = (
        example(digits.card, digits.train, 10, generator("cpu", seed, "example"))
        for seed in (0, 0, 1)
    )
    assert torch.equal(first[0], again[0])
    assert not torch.equal(first[1], other[1])
    for half in first[1].chunk(2):
        assert len(half.unique()) == 10


def test_streams_are_independent_and_stable():
    assert (
        len({derive(s, n, e) for s in range(3) for n in ("order", "step") for e in range(3)}) == 18
    )
    assert derive(0, "order", 1) == 0x10F0EC54A90AF74E >> 1
