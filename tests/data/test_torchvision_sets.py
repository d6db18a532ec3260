"""CIFAR, SVHN and Fashion-MNIST from small archives in the official formats."""

import dataclasses
import functools
import gzip
import hashlib
import io
import pickle
import struct
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.io
import torchvision

from nfe import data as datasets
from nfe.common.errors import InputError
from nfe.data import prepare, torchvision_sets
from nfe.data.base import Archive, Array

CLASSES = 2
TRAIN, TEST = 100, 10


def images(split: str, side: int, channels: int) -> tuple[Array, Array]:
    """Return made images (n, side, side, channels) and their labels."""
    random = np.random.default_rng(len(split))
    count = TRAIN if split == "train" else TEST
    labels = random.permutation(np.arange(count) % CLASSES)
    return random.integers(0, 256, (count, side, side, channels), dtype=np.uint8), labels


def md5(path: Path) -> str:
    return hashlib.md5(path.read_bytes()).hexdigest()


def write_cifar(folder: Path, name: str) -> type:
    """Write cifar-NN-python.tar.gz; return torchvision's class with the checksums of it."""
    official: Any = getattr(torchvision.datasets, name)
    key = "labels" if name == "CIFAR10" else "fine_labels"
    members: dict[str, bytes] = {}
    changes: dict[str, Any] = {}
    for split, attribute in (("train", "train_list"), ("test", "test_list")):
        pixels, labels = images(split, 32, 3)
        files = [file for file, _ in getattr(official, attribute)]
        rows = pixels.transpose(0, 3, 1, 2).reshape(len(pixels), -1)
        for file, part, numbers in zip(
            files, np.split(rows, len(files)), np.split(labels, len(files)), strict=True
        ):
            members[file] = pickle.dumps({"data": part, key: numbers.tolist()})
        changes[attribute] = [[f, hashlib.md5(members[f]).hexdigest()] for f in files]
    meta = dict(official.meta)
    members[meta["filename"]] = pickle.dumps({meta["key"]: ["a", "b"]})
    meta["md5"] = hashlib.md5(members[meta["filename"]]).hexdigest()
    with tarfile.open(folder / official.filename, "w:gz") as archive:
        for file, content in members.items():
            info = tarfile.TarInfo(f"{official.base_folder}/{file}")
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    changes |= {"meta": meta, "tgz_md5": md5(folder / official.filename)}
    return type(name, (official,), changes)


def write_svhn(folder: Path, name: str) -> type:
    """Write {train,test}_32x32.mat, where the digit 0 has the label 10."""
    official: Any = torchvision.datasets.SVHN
    found = {}
    for split, (url, file, _) in official.split_list.items():
        if split != "extra":
            pixels, labels = images(split, 32, 3)
            y = np.where(labels == 0, 10, labels).astype(np.uint8)[:, None]
            scipy.io.savemat(folder / file, {"X": pixels.transpose(1, 2, 3, 0), "y": y})
            found[split] = [url, file, md5(folder / file)]
    return type(name, (official,), {"split_list": found})


def write_fashion_mnist(folder: Path, name: str) -> type:
    """Write the four gzipped idx files."""
    official: Any = torchvision.datasets.FashionMNIST
    for split, prefix in (("train", "train"), ("test", "t10k")):
        pixels, labels = images(split, 28, 1)
        idx3 = struct.pack(">IIII", 2051, len(pixels), 28, 28) + pixels.tobytes()
        idx1 = struct.pack(">II", 2049, len(labels)) + labels.astype(np.uint8).tobytes()
        (folder / f"{prefix}-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx3))
        (folder / f"{prefix}-labels-idx1-ubyte.gz").write_bytes(gzip.compress(idx1))
    resources = [(file, md5(folder / file)) for file, _ in official.resources]
    return type(name, (official,), {"resources": resources})


SETS = {
    "cifar10": ("CIFAR10", write_cifar),
    "cifar100": ("CIFAR100", write_cifar),
    "svhn": ("SVHN", write_svhn),
    "fashion-mnist": ("FashionMNIST", write_fashion_mnist),
}


@pytest.fixture
def source(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of small official archives, and a data set that expects them."""
    folder = tmp_path / "source"
    folder.mkdir()
    class_name, write = SETS[name]
    monkeypatch.setattr(torchvision.datasets, class_name, write(folder, class_name))
    real = datasets.dataset(name)
    archives = tuple(Archive(a.url, md5(folder / a.filename)) for a in real.archives)
    assert isinstance(real.open, functools.partial)
    small = dataclasses.replace(
        real,
        archives=archives,
        open=functools.partial(real.open, archives=archives),
        cards=(dataclasses.replace(real.cards[0], classes=CLASSES),),
    )
    monkeypatch.setitem(datasets._DATASETS, name, small)
    return folder


@pytest.mark.parametrize("name", SETS)
def test_official_archives_become_the_images_they_hold(
    name: str, source: Path, tmp_path: Path
) -> None:
    root = tmp_path / "root"
    assert len(list(prepare.prepare(name, source, root))) == 1
    card = datasets.card(name)
    data = datasets.load(card, root)
    assert [len(data.train), len(data.heldout), len(data.test)] == [96, 4, TEST]
    pixels, labels = images("test", card.resolution, card.channels)
    np.testing.assert_array_equal(data.test.images, pixels.transpose(0, 3, 1, 2))
    np.testing.assert_array_equal(data.test.labels, labels)

    pixels, labels = images("train", card.resolution, card.channels)
    label_of = {p.transpose(2, 0, 1).tobytes(): y for p, y in zip(pixels, labels, strict=True)}
    for split in (data.train, data.heldout):
        for image, label in zip(split.images.numpy(), split.labels, strict=True):
            assert label_of.pop(image.tobytes()) == label
    assert not label_of
    assert sorted(p.name for p in root.rglob("*") if p.is_dir()) == sorted(
        [name, str(card.resolution)]
    )


@pytest.mark.parametrize("name", SETS)
def test_another_archive_is_refused_by_name(name: str, source: Path, tmp_path: Path) -> None:
    path = source / datasets.dataset(name).archives[-1].filename
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(InputError, match=rf"{path.name}: MD5 \w+ is not the published"):
        list(prepare.prepare(name, source, tmp_path / "root"))
    path.unlink()
    with pytest.raises(InputError, match=f"{path.name}: No such file .* published at http"):
        list(prepare.prepare(name, source, tmp_path / "root"))
    assert not [p for p in (tmp_path / "root").rglob("*") if p.is_file()]


@pytest.mark.parametrize("name", ["cifar10", "cifar100"])
def test_the_archive_itself_is_a_source(name: str, source: Path, tmp_path: Path) -> None:
    archive = source / datasets.dataset(name).archives[0].filename
    assert list(prepare.prepare(name, archive, tmp_path / "root"))


def test_the_checksums_are_those_that_torchvision_publishes() -> None:
    found = torchvision.datasets
    expected = {
        "cifar10": [found.CIFAR10.tgz_md5],
        "cifar100": [found.CIFAR100.tgz_md5],
        "svhn": [found.SVHN.split_list[split][2] for split in ("train", "test")],
        "fashion-mnist": [checksum for _, checksum in found.FashionMNIST.resources],
    }
    for dataset in (
        torchvision_sets.CIFAR10,
        torchvision_sets.CIFAR100,
        torchvision_sets.SVHN,
        torchvision_sets.FASHION_MNIST,
    ):
        assert [archive.md5 for archive in dataset.archives] == expected[dataset.name]
        for archive in dataset.archives:
            assert archive.md5 in dataset.cards[0].content_hash
