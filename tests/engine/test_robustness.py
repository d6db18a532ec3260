"""Corrupted and out-of-distribution test images."""

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from nfe import data as datasets
from nfe.common.errors import InputError
from nfe.common.seeds import global_stream
from nfe.data import corruptions, outliers, prepare, prepared
from nfe.data.base import Card


def smooth(count: int = 16, channels: int = 3, side: int = 32) -> Tensor:
    """Photograph-like images: smooth, with every brightness."""
    draws = torch.Generator().manual_seed(0)
    coarse = torch.rand(count, channels, 4, 4, generator=draws) * 255
    return torch.nn.functional.interpolate(coarse, side, mode="bicubic").clamp(0, 255).byte()


def corrupt(images: Tensor, kind: str, severity: int) -> Tensor:
    with global_stream(0, kind, severity):
        return corruptions.corrupt(images, kind, severity)


def distance(a: Tensor, b: Tensor) -> float:
    return float((a.float() - b.float()).abs().mean())


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("kind", corruptions.CORRUPTIONS)
def test_damage_grows_with_severity_and_is_repeatable(kind: str, channels: int) -> None:
    images = smooth(channels=channels)
    before = images.clone()
    found = [corrupt(images, kind, severity) for severity in range(1, 6)]
    assert torch.equal(images, before)
    assert all(x.shape == images.shape and x.dtype == torch.uint8 for x in found)
    assert torch.equal(found[2], corrupt(images, kind, 3))
    damage = [distance(x, images) for x in found]
    if kind == "saturation":
        # Severities 1 and 2 take colour away, the others add it; grey has none.
        assert (max(damage) == 0) == (channels == 1)
        assert channels == 1 or (damage[0] < damage[1] and damage[2] < damage[3] < damage[4])
    else:
        assert damage[0] > 0 and damage == sorted(damage)


def test_noise_has_its_variance() -> None:
    grey = torch.full((200, 3, 16, 16), 128, dtype=torch.uint8)
    for severity, sigma in enumerate((0.04, 0.08, 0.12), start=1):
        noisy = corrupt(grey, "gaussian_noise", severity).float() / 255
        assert float(noisy.std()) == pytest.approx(sigma, rel=0.02)
    for severity, photons in enumerate((250, 100, 50), start=1):
        noisy = corrupt(grey, "shot_noise", severity).float() / 255
        assert float(noisy.std()) == pytest.approx((0.502 / photons) ** 0.5, rel=0.02)


@pytest.mark.parametrize(("severity", "factor"), [(1, 1.3), (3, 2.0), (5, 3.0)])
def test_brightness_saturates_and_never_wraps(severity: int, factor: float) -> None:
    images = smooth()
    wanted = (images.double() * factor).clamp(max=255)
    assert float((corrupt(images, "brightness", severity) - wanted).abs().max()) <= 1


@pytest.mark.parametrize(("severity", "quality"), [(1, 65), (5, 25)])
def test_jpeg_is_what_another_encoder_makes(severity: int, quality: int) -> None:
    images = smooth(4)
    for image, found in zip(images, corrupt(images, "jpeg", severity), strict=True):
        content = io.BytesIO()
        Image.fromarray(image.permute(1, 2, 0).numpy()).save(content, "JPEG", quality=quality)
        wanted = torch.from_numpy(np.array(Image.open(content))).permute(2, 0, 1)
        assert distance(found, wanted) < 0.5


def test_pixelate_keeps_blocks_and_contrast_keeps_the_mean() -> None:
    images = smooth()
    blocks = corrupt(images, "pixelate", 5).view(16, 3, 16, 2, 16, 2)
    assert torch.equal(blocks.amax((3, 5)), blocks.amin((3, 5)))
    pale = corrupt(images, "contrast", 5)
    assert float(pale.float().std((1, 2, 3)).max()) < 0.1 * float(images.float().std())
    assert distance(pale.float().mean((1, 2, 3)), images.float().mean((1, 2, 3))) < 20


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Digits' corruptions and a small SVHN, prepared."""
    folder = tmp_path_factory.mktemp("data")
    assert list(prepare.prepare("digits-c", None, folder)) == [f"{folder}/digits-c/8: prepared"]
    card = datasets.card("svhn")
    with prepared.making(prepared.folder(card, folder), prepared.identity(card)) as writer:
        assert writer is not None
        prepared.write_splits(writer, card, _Svhn())
    return folder


class _Svhn:
    """40 training and 6 test images, each all one value."""

    def labels(self, split: str) -> np.ndarray:
        return np.arange(40 if split == "train" else 6) % 10

    def images(self, split: str, indices: np.ndarray) -> list[np.ndarray]:  # type: ignore[override]
        return [np.broadcast_to(indices[:, None, None, None], (len(indices), 3, 32, 32))]

    def verify(self) -> None:
        pass


def test_prepared_corruptions_are_those_of_the_test_images(root: Path) -> None:
    card = datasets.card("digits", num_classes=6)
    test = datasets.load(card).test
    assert "saturation" not in corruptions.kinds(card)
    for kind in corruptions.kinds(card):
        for severity in (1, 5):
            found = corruptions.load(card, kind, severity, root)
            assert torch.equal(found.labels, test.labels)
            if "noise" not in kind:
                assert torch.equal(found.images, corrupt(test.images, kind, severity))
    assert next(prepare.prepare("digits-c", None, root)).endswith("already")
    assert len(list(prepare.check("digits-c", root))) == 1


@pytest.mark.parametrize(
    ("kind", "severity", "message"),
    [
        ("saturation", 1, "unknown corruption of digits 'saturation'"),
        ("jpeg", 6, "severity is 6: allowed: 1 to 5"),
        ("jpeg", 0, "severity is 0"),
    ],
)
def test_what_is_no_corruption_is_refused(
    kind: str, severity: int, message: str, root: Path
) -> None:
    with pytest.raises(InputError, match=message):
        corruptions.load(datasets.card("digits"), kind, severity, root)


def test_digits_corruptions_are_the_same_unprepared(root: Path, tmp_path: Path) -> None:
    card = datasets.card("digits", num_classes=6)
    for kind in ("shot_noise", "contrast"):
        made, stored = (corruptions.load(card, kind, 4, at) for at in (tmp_path, root))
        assert torch.equal(made.images, stored.images)
        assert torch.equal(made.labels, stored.labels)


def test_corruptions_need_preparing_from_prepared_images(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="data prepare cifar10-c"):
        corruptions.load(datasets.card("cifar10"), "jpeg", 1, tmp_path)
    with pytest.raises(InputError, match="data prepare cifar10 "):
        list(prepare.prepare("cifar10-c", None, tmp_path))
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_unseen_classes_are_the_rest_of_the_test_images() -> None:
    whole = datasets.load(datasets.card("digits")).test
    seen = datasets.load(datasets.card("digits", num_classes=7)).test
    unseen = outliers.unseen_classes(datasets.card("digits", num_classes=7))
    assert len(seen) + len(unseen) == len(whole)
    assert sorted(set(unseen.labels.tolist())) == [7, 8, 9]
    with pytest.raises(InputError, match="all 10 classes leaves none"):
        outliers.unseen_classes(datasets.card("digits"))


@pytest.mark.parametrize(("name", "resolution"), [("cifar10", 32), ("tiny-imagenet", 64)])
def test_another_data_set_comes_in_the_right_size(name: str, resolution: int, root: Path) -> None:
    split = outliers.other_dataset(datasets.card(name, resolution), "svhn", root)
    assert split.images.shape == (6, 3, resolution, resolution)
    assert split.images.float().mean((1, 2, 3)).tolist() == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize("card", [datasets.card("svhn"), datasets.card("fashion-mnist")])
def test_a_set_that_is_no_outlier_is_refused(card: Card, root: Path) -> None:
    with pytest.raises(InputError, match="svhn cannot be out of distribution"):
        outliers.other_dataset(card, "svhn", root)
