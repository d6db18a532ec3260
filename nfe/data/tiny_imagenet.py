"""Tiny ImageNet: 200 ImageNet classes as 64×64 JPEG files, in the layout of Stanford's CS231n.

Source: Le & Yang, "Tiny ImageNet Visual Recognition Challenge", 2015; images of ImageNet
(Russakovsky et al., 2015), for non-commercial research. The official validation set is the test
set here, as usual in this literature: the official test labels were never published.
"""

import contextlib
import hashlib
import io
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nfe.common.errors import InputError
from nfe.common.files import write_bytes
from nfe.data import official, prepared
from nfe.data.base import Archive, Array, Card, Dataset, Source
from nfe.data.jpeg import Decoder

TOP = "tiny-imagenet-200"
SIDE = 64
INDEX = Path(__file__).with_name("tiny_imagenet.npz")

_CLASSES = "wnids.txt"
_ANNOTATIONS = "val/val_annotations.txt"


@dataclass(frozen=True)
class Index:
    """What the official files are, so that a missing, foreign or altered one can be named.

    Attributes:
        wnids: WordNet identifiers of the classes, in the order of wnids.txt, which numbers the
            labels. Unlike the alphabet, that order mixes unlike classes, so the first k are a
            fair subset.
        train_crc32: (classes, images per class) CRC-32 of every training image.
        test_crc32: (test images,) CRC-32 of every validation image.
        test_labels: (test images,) label of every validation image.
    """

    wnids: tuple[str, ...]
    train_crc32: Array
    test_crc32: Array
    test_labels: Array

    @classmethod
    def read(cls, path: Path) -> "Index":
        """Read an index that ``write`` wrote."""
        with np.load(path, allow_pickle=False) as stored:
            return cls(tuple(stored["wnids"].tolist()), *(stored[k] for k in _INDEX_ARRAYS))

    def paths(self, split: str) -> list[str]:
        """Return the paths of a split's images, in label and number order."""
        if split == "test":
            return [f"val/images/val_{n}.JPEG" for n in range(len(self.test_labels))]
        numbers = range(self.train_crc32.shape[1])
        return [f"train/{w}/images/{w}_{n}.JPEG" for w in self.wnids for n in numbers]

    def checksums(self, split: str) -> list[int]:
        """Return the CRC-32 of a split's images, in the order of ``paths``."""
        return (self.test_crc32 if split == "test" else self.train_crc32.ravel()).tolist()

    def labels(self, split: str) -> Array:
        """Return the labels of a split's images, in the order of ``paths``."""
        classes, each = self.train_crc32.shape
        labels = self.test_labels if split == "test" else np.repeat(np.arange(classes), each)
        return labels.astype(np.int64)


_INDEX_ARRAYS = ("train_crc32", "test_crc32", "test_labels")


def make_index(source: Path) -> Index:
    """Return the index of a whole official folder; how the committed one was made."""
    found = official.files(source, TOP)
    wnids = tuple(_text(found, _CLASSES).split())
    each = sum(path.startswith(f"train/{wnids[0]}/images/") for path in found)
    labels = _validation_labels(found, wnids)
    blank = Index(wnids, np.zeros((len(wnids), each), np.uint32), np.zeros(0), labels)
    train, test = (
        np.array([zlib.crc32(found[path].read()) for path in blank.paths(split)], np.uint32)
        for split in ("train", "test")
    )
    return Index(wnids, train.reshape(len(wnids), each), test, labels.astype(np.uint8))


def write_index(index: Index, path: Path) -> None:
    """Write an index; the same index always gives the same bytes."""
    content = io.BytesIO()
    arrays = {name: getattr(index, name) for name in _INDEX_ARRAYS}
    np.savez(content, wnids=np.array(index.wnids), **arrays)
    write_bytes(path, content.getvalue())


class _Source:
    """The official files, checked by name and checksum before any image is decoded."""

    def __init__(self, source: Path, index: Index, expected: str, decoder: Decoder) -> None:
        self._index = index
        self._expected = expected
        self._decoder = decoder
        self._sha256: dict[str, str] = {}
        self._where = source
        self._files = official.files(source, TOP)
        self._check_names()
        self._check_classes()
        for split in ("train", "test"):
            self._check_stated_checksums(split)

    def labels(self, split: str) -> Array:
        return self._index.labels(split)

    def images(self, split: str, indices: Array) -> Iterator[Array]:
        return self._decoder.images(self._contents(split, indices))

    def verify(self) -> None:
        found = listing_hash(self._index, self._sha256)
        if found != self._expected:
            raise InputError(
                f"{self._where}: content hash {found} is not the expected {self._expected}"
            )

    def _contents(self, split: str, indices: Array) -> Iterator[tuple[str, bytes]]:
        paths, checksums = self._index.paths(split), self._index.checksums(split)
        for path, checksum in ((paths[i], checksums[i]) for i in indices):
            file = self._files[path]
            content = file.read()
            if zlib.crc32(content) != checksum:
                raise _altered(file)
            self._sha256[path] = hashlib.sha256(content).hexdigest()
            yield str(file), content

    def _check_names(self) -> None:
        images = {*self._index.paths("train"), *self._index.paths("test")}
        expected = {*images, _CLASSES, _ANNOTATIONS}
        if missing := sorted(expected - self._files.keys()):
            raise InputError(f"{self._where}: {_some(missing)} missing of {TOP}")
        if foreign := sorted(p for p in self._files.keys() - expected if not _is_unused(p)):
            raise InputError(f"{self._files[foreign[0]]}: foreign: not a file of {TOP}")

    def _check_classes(self) -> None:
        wnids = tuple(_text(self._files, _CLASSES).split())
        if wnids != self._index.wnids:
            raise InputError(
                f"{self._files[_CLASSES]}: not the {len(self._index.wnids)} classes "
                f"of {TOP} in their official order"
            )
        labels = _validation_labels(self._files, wnids)
        wrong = np.flatnonzero(labels != self._index.test_labels)
        if len(wrong):
            raise InputError(
                f"{self._files[_ANNOTATIONS]}: val_{wrong[0]}.JPEG has another label "
                "than the official one"
            )

    def _check_stated_checksums(self, split: str) -> None:
        paths, checksums = self._index.paths(split), self._index.checksums(split)
        for path, checksum in zip(paths, checksums, strict=True):
            if self._files[path].crc32 not in (None, checksum):
                raise _altered(self._files[path])


def listing_hash(index: Index, sha256: dict[str, str]) -> str:
    """Return the content hash: the SHA-256 of a listing, one line an image.

    A line reads ``PATH LABEL SHA256`` and ends in a newline; training images come first, by
    label and number, then the validation images by number.
    """
    lines = [
        f"{path} {label} {sha256[path]}\n"
        for split in ("train", "test")
        for path, label in zip(index.paths(split), index.labels(split), strict=True)
    ]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _altered(file: official.File) -> InputError:
    return InputError(f"{file}: damaged or altered: not the official image of that name")


def _some(paths: list[str]) -> str:
    return paths[0] if len(paths) == 1 else f"{len(paths):,} files, first {paths[0]},"


def _is_unused(path: str) -> bool:
    """Tell whether the official archive has such a file without our needing it."""
    return path == "words.txt" or path.endswith("_boxes.txt") or path.startswith("test/images/")


def _text(files: dict[str, official.File], path: str) -> str:
    if path not in files:
        raise InputError(f"{path} is missing of {TOP}")
    try:
        return files[path].read().decode("ascii")
    except UnicodeDecodeError:
        raise InputError(f"{files[path]}: not a text file") from None


def _validation_labels(files: dict[str, official.File], wnids: tuple[str, ...]) -> Array:
    """Return the labels that val_annotations.txt states, by image number."""
    labels: dict[str, int] = {}
    number = {wnid: label for label, wnid in enumerate(wnids)}
    lines = _text(files, _ANNOTATIONS).splitlines()
    where = files[_ANNOTATIONS]
    for line, text in enumerate(lines, start=1):
        name, _, rest = text.partition("\t")
        wnid = rest.partition("\t")[0]
        if wnid not in number:
            raise InputError(f"{where}: line {line}: {wnid!r} is not a class of {_CLASSES}")
        if name in labels:
            raise InputError(f"{where}: line {line}: a second label for {name}")
        labels[name] = number[wnid]
    images = {path.rpartition("/")[2] for path in files if path.startswith("val/images/")}
    for problem, names in (
        ("no label", images - labels.keys()),
        ("no image", labels.keys() - images),
    ):
        if names:
            raise InputError(
                f"{where}: {problem} for {_some(sorted(names))} of {len(images):,} images"
            )
    return np.array([labels[f"val_{n}.JPEG"] for n in range(len(labels))])


@contextlib.contextmanager
def open_source(
    card: Card, source: Path, _scratch: Path, index_file: Path = INDEX
) -> Iterator[Source]:
    """Open official files: a zip, a folder of zips, or the unpacked folder.

    Args:
        card: the variant; its content hash is what the files must have.
        source: where the files are.
        index_file: which files are expected.

    Raises:
        InputError: a file is missing, foreign, damaged, altered or hostile.
    """
    with Decoder(SIDE, card.resolution) as decoder:
        yield _Source(source, Index.read(index_file), card.content_hash, decoder)


def _card(resolution: int, padding: int, mean: tuple[float, ...], std: tuple[float, ...]) -> Card:
    return Card(
        name="tiny-imagenet",
        resolution=resolution,
        channels=3,
        classes=200,
        mean=mean,
        std=std,
        padding=padding,
        flip=True,
        batch_size=128,
        content_hash="2388fb6aa2ba8187ef1275d736b183b4bec7e40cc2bc37cbba504c96499d159e",
    )


TINY_IMAGENET = Dataset(
    name="tiny-imagenet",
    cards=(
        _card(64, 8, (0.4802, 0.4481, 0.3975), (0.2764, 0.2688, 0.2815)),
        _card(32, 4, (0.4807, 0.4486, 0.3980), (0.2618, 0.2536, 0.2676)),
    ),
    images_per_class=500,
    test_images=10_000,
    load=prepared.load,
    archives=(
        Archive(
            "http://cs231n.stanford.edu/tiny-imagenet-200.zip", "90528d7ca1a48142e341f4ef8d21d0de"
        ),
    ),
    open=open_source,
)
