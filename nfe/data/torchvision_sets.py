"""CIFAR-10, CIFAR-100, SVHN and Fashion-MNIST, read from their official archives by torchvision."""

from __future__ import annotations

import contextlib
import functools
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from nfe.common.errors import InputError
from nfe.common.files import checksum
from nfe.data import prepared
from nfe.data.base import Archive, Array, Card, Dataset, Source

_CHUNK = 1024

Pair = tuple[Array, Array]
# Reads both official splits below a folder: (folder, is it the training split) → images, labels.
Reader = Callable[[Path, bool], Pair]


def read_cifar10(folder: Path, train: bool) -> Pair:
    """Return images (n, 3, 32, 32) and labels of CIFAR-10."""
    from torchvision.datasets import CIFAR10

    return _cifar(CIFAR10(folder, train=train, download=True))


def read_cifar100(folder: Path, train: bool) -> Pair:
    """Return images (n, 3, 32, 32) and (fine) labels of CIFAR-100."""
    from torchvision.datasets import CIFAR100

    return _cifar(CIFAR100(folder, train=train, download=True))


def _cifar(loaded: Any) -> Pair:
    return loaded.data.transpose(0, 3, 1, 2), np.array(loaded.targets, np.int64)


def read_svhn(folder: Path, train: bool) -> Pair:
    """Return images (n, 3, 32, 32) and labels of SVHN's cropped digits, without the extra set."""
    from torchvision.datasets import SVHN

    loaded = SVHN(folder, split="train" if train else "test", download=True)
    return loaded.data, np.asarray(loaded.labels, np.int64)


def read_fashion_mnist(folder: Path, train: bool) -> Pair:
    """Return images (n, 1, 28, 28) and labels of Fashion-MNIST."""
    from torchvision.datasets import FashionMNIST

    loaded = FashionMNIST(folder, train=train, download=True)
    return loaded.data.numpy()[:, None], loaded.targets.numpy()


class _Source:
    """Both splits, one in memory at a time."""

    def __init__(self, folder: Path, read: Reader) -> None:
        self._read = functools.lru_cache(maxsize=1)(lambda split: read(folder, split == "train"))

    def labels(self, split: str) -> Array:
        return self._read(split)[1]

    def images(self, split: str, indices: Array) -> Iterator[Array]:
        images = self._read(split)[0]
        for first in range(0, len(indices), _CHUNK):
            yield images[indices[first : first + _CHUNK]]

    def verify(self) -> None:
        """The archives were checked before anything was read."""


@contextlib.contextmanager
def open_source(
    _card: Card,
    source: Path,
    scratch: Path,
    *,
    archives: tuple[Archive, ...],
    read: Reader,
    below: str = "",
) -> Iterator[Source]:
    """Open official archives.

    Args:
        source: the archive, or the folder that holds the archives under their official names.
        scratch: folder to unpack into.
        archives: the archives and their checksums.
        read: reads a split; torchvision finds the archives where it would have downloaded them.
        below: where in its folder torchvision expects them.

    Raises:
        InputError: an archive is missing or is not the published one.
    """
    folder = scratch / "unpacked"
    (folder / below).mkdir(parents=True)
    for archive in archives:
        path = source if source.is_file() else source / archive.filename
        verify(path, archive)
        (folder / below / archive.filename).symlink_to(path.resolve())
    yield _Source(folder, read)
    shutil.rmtree(folder)


def verify(path: Path, archive: Archive) -> None:
    """Check a published file.

    Raises:
        InputError: it is missing or has another checksum.
    """
    try:
        found = checksum(path, "md5")
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}; it is published at {archive.url}") from None
    if found != archive.md5:
        raise InputError(f"{path}: MD5 {found} is not the published {archive.md5}: get it again")


def _dataset(
    name: str,
    images_per_class: int,
    test_images: int,
    archives: tuple[Archive, ...],
    read: Reader,
    below: str = "",
    **facts: Any,
) -> Dataset:
    content_hash = ",".join(f"md5:{archive.md5}" for archive in archives)
    card = Card(name=name, padding=4, batch_size=128, content_hash=content_hash, **facts)
    opener = functools.partial(open_source, archives=archives, read=read, below=below)
    return Dataset(
        name, (card,), images_per_class, prepared.load, archives, opener, test_images=test_images
    )


_CIFAR = "https://www.cs.toronto.edu/~kriz/"
_SVHN = "http://ufldl.stanford.edu/housenumbers/"
_FASHION = "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/"

CIFAR10 = _dataset(
    "cifar10",
    5000,
    10_000,
    (Archive(f"{_CIFAR}cifar-10-python.tar.gz", "c58f30108f718f92721af3b95e74349a"),),
    read_cifar10,
    resolution=32,
    channels=3,
    classes=10,
    mean=(0.4914, 0.4822, 0.4465),
    std=(0.2470, 0.2435, 0.2616),
    flip=True,
)
CIFAR100 = _dataset(
    "cifar100",
    500,
    10_000,
    (Archive(f"{_CIFAR}cifar-100-python.tar.gz", "eb9058c3a382ffc7106e4002c42a8d85"),),
    read_cifar100,
    resolution=32,
    channels=3,
    classes=100,
    mean=(0.5071, 0.4867, 0.4408),
    std=(0.2675, 0.2565, 0.2761),
    flip=True,
)
SVHN = _dataset(
    "svhn",
    13861,
    26_032,
    (
        Archive(f"{_SVHN}train_32x32.mat", "e26dedcc434d2e4c54c9b2d4a06d8373"),
        Archive(f"{_SVHN}test_32x32.mat", "eb5a983be6a315427106f1b164d9cef3"),
    ),
    read_svhn,
    resolution=32,
    channels=3,
    classes=10,
    mean=(0.4377, 0.4438, 0.4728),
    std=(0.1980, 0.2010, 0.1970),
    flip=False,
)
FASHION_MNIST = _dataset(
    "fashion-mnist",
    6000,
    10_000,
    (
        Archive(f"{_FASHION}train-images-idx3-ubyte.gz", "8d4fb7e6c68d591d4c3dfef9ec88bf0d"),
        Archive(f"{_FASHION}train-labels-idx1-ubyte.gz", "25c81989df183df01b3e8a0aad5dffbe"),
        Archive(f"{_FASHION}t10k-images-idx3-ubyte.gz", "bef4ecab320f06d8554ea6380940ec79"),
        Archive(f"{_FASHION}t10k-labels-idx1-ubyte.gz", "bb300cfdad3c16e7a12a480ee83cd310"),
    ),
    read_fashion_mnist,
    below="FashionMNIST/raw",
    resolution=28,
    channels=1,
    classes=10,
    mean=(0.2860,),
    std=(0.3530,),
    flip=True,
)
