"""From a source of one's own to prepared arrays and a card."""

import collections
import hashlib
import itertools
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image

from nfe.common.errors import InputError
from nfe.common.files import make_directory
from nfe.data import image_files, prepared
from nfe.data.base import Array
from nfe.data.jpeg import CHUNK, cores
from nfe.data.own import arrays, card, dividing, folder, saved, table
from nfe.data.own.card import NOT_STATED, SPLITS, OwnCard
from nfe.data.own.dividing import Rule
from nfe.data.own.found import TEST, TRAIN, Found, Item, some

FITTING = (
    "largest centred square; smaller by averaging (whole blocks of pixels where they fit), larger "
    "by bilinear interpolation"
)
# A class this many times the size of another is reported.
_IMBALANCE = 2
_LEAST_SIDE = 8


@dataclass(frozen=True)
class Wishes:
    """What a user asks of the preparation.

    Attributes:
        resolution: side of the square images, in pixels.
        rule: how test images are drawn.
        flip: whether horizontal flips are a valid augmentation.
        skip_corrupt: leave out images that cannot be read.
        licence: the images' terms of use.
    """

    resolution: int
    rule: Rule = field(default_factory=Rule)
    flip: bool = True
    skip_corrupt: bool = False
    licence: str = NOT_STATED

    def __post_init__(self) -> None:
        """Check the resolution.

        Raises:
            InputError: it is too small.
        """
        if self.resolution < _LEAST_SIDE:
            raise InputError(
                f"resolution is {self.resolution}: allowed: whole numbers from {_LEAST_SIDE}"
            )


def find(source: Path) -> Found:
    """Return the images of a source, whatever its kind.

    Raises:
        InputError: it is of no kind that is known, or see the kinds' own modules.
    """
    if source.is_dir():
        return saved.find(source) if saved.is_saved(source) else folder.find(source)
    if not source.exists():
        raise InputError(f"{source}: no such file or folder")
    kinds = {".csv": table.find, ".npz": arrays.find}
    if source.suffix.lower() not in kinds:
        raise InputError(
            f"{source}: allowed: a folder of image files, a .csv, a .npz, or a folder of the "
            "datasets library"
        )
    return kinds[source.suffix.lower()](source)


def prepare(name: str, source: Path, root: Path, wishes: Wishes) -> Iterator[str]:
    """Make a data set of one's own and its card; yield lines on what was found and made.

    Nothing is written before every image has been read. A card that stands is never changed:
    the source must then hold what it says.

    Args:
        name: what it is to be called.
        source: see ``find``.
        root: folder of prepared data.
        wishes: how.

    Raises:
        InputError: the source, an image or the name cannot be used, or the card that stands is
            of other images.
    """
    card.check_name(name)
    found = find(source)
    dividing.check(found, wishes.rule)
    if len(found.class_names) < 2:
        raise InputError(f"{source}: one class, {found.class_names[0]!r}: allowed: two or more")
    dividing.divide(found, wishes.rule)
    make_directory(root)
    # A file without a name: whatever happens, nothing of it is left.
    with tempfile.TemporaryFile(dir=root) as file:
        told = _Told()
        corrupt = _decode(found.items, wishes.resolution, file, told)
        if corrupt and not wishes.skip_corrupt:
            raise _unreadable(found, list(corrupt.values()))
        yield from told.lines()
        yield from (f"left out: {reason}" for reason in corrupt.values())
        yield from _finish(
            name,
            found.without(list(corrupt)),
            _mapped(file, wishes),
            root,
            wishes,
            [found.items[i].name for i in corrupt],
        )


def _finish(
    name: str, found: Found, pixels: Array, root: Path, wishes: Wishes, skipped: list[str]
) -> Iterator[str]:
    parts = dividing.divide(found, wishes.rule)
    own = _described(name, found, pixels, parts, wishes, skipped)
    place = card.place(name)
    if place.exists():
        _check_same(place, card.read(place), own)
    labels, channels = found.labels(), own.channels
    facts = own.card()
    target = prepared.folder(facts, root)
    make_directory(place.parent)
    with prepared.making(target, prepared.identity(facts)) as writer:
        if writer is not None:
            for split, chosen in parts.items():
                writer.split(split, facts, _chunks(pixels, chosen, channels), labels[chosen])
    yield from _reported(own, pixels, parts)
    yield f"{target}: {'prepared' if writer else 'prepared already'}"
    if not place.exists():
        card.write(place, own)
        yield f"{place}: the card of {name}, content hash {own.content_hash}"


class _Told:
    """Counts what was done to images, instead of a line on each."""

    def __init__(self) -> None:
        self._names: dict[str, list[str]] = collections.defaultdict(list)

    def __call__(self, name: str, what: str) -> None:
        self._names[what].append(name)

    def lines(self) -> Iterator[str]:
        for what, names in sorted(self._names.items()):
            yield f"{len(names):,} of the images: {what}: {some(sorted(names))}"


def _decode(items: tuple[Item, ...], side: int, file: BinaryIO, told: _Told) -> dict[int, str]:
    """Write the pixels of the readable images, in order; return why the others are not.

    Pillow decodes and resizes without holding Python's lock, so threads do.
    """

    def one(item: Item) -> Array | str:
        try:
            return np.asarray(image_files.square(item.read(told), side)).transpose(2, 0, 1)
        except InputError as error:
            return str(error)

    Image.init()
    corrupt: dict[int, str] = {}
    numbered = enumerate(items)
    with ThreadPoolExecutor(cores()) as pool:
        while chunk := list(itertools.islice(numbered, CHUNK)):
            read = pool.map(one, [item for _, item in chunk])
            for (number, _), pixels in zip(chunk, read, strict=True):
                if isinstance(pixels, str):
                    corrupt[number] = pixels
                else:
                    file.write(pixels.tobytes())
    file.flush()
    return corrupt


def _mapped(file: BinaryIO, wishes: Wishes) -> Array:
    shape = (-1, 3, wishes.resolution, wishes.resolution)
    if file.tell() == 0:
        return np.empty((0, *shape[1:]), np.uint8)
    return np.memmap(file, np.uint8, "r").reshape(shape)


def _unreadable(found: Found, reasons: list[str]) -> InputError:
    more = f" (and {len(reasons) - 3:,} more)" if len(reasons) > 3 else ""
    return InputError(
        f"{len(reasons):,} of {len(found.items):,} images cannot be used: "
        f"{'; '.join(reasons[:3])}{more}: allowed: readable images, or --skip-corrupt to leave "
        "these out"
    )


def _chunks(pixels: Array, chosen: Array, channels: int) -> Iterator[Array]:
    for first in range(0, len(chosen), CHUNK):
        yield np.ascontiguousarray(pixels[chosen[first : first + CHUNK], :channels])


def _described(
    name: str,
    found: Found,
    pixels: Array,
    parts: dict[str, Array],
    wishes: Wishes,
    skipped: list[str],
) -> OwnCard:
    everything = np.arange(len(pixels))
    grey = all((c == c[:, :1]).all() for c in _chunks(pixels, everything, 3))
    channels, labels, classes = 1 if grey else 3, found.labels(), len(found.class_names)
    mean, std = _statistics(found, pixels, parts[TRAIN], channels)
    # Fifteen steps or more an epoch, and two images or more a step.
    batch = 128
    while batch > 2 and batch * 15 > len(parts[TRAIN]):
        batch //= 2
    values = OwnCard(
        name=name,
        licence=wishes.licence,
        resolution=wishes.resolution,
        channels=channels,
        class_names=found.class_names,
        images={
            split: tuple(np.bincount(labels[parts[split]], minlength=classes).tolist())
            for split in SPLITS
        },
        mean=mean,
        std=std,
        padding=wishes.resolution // 8,
        flip=wishes.flip,
        batch_size=batch,
        source=f"{found.kind}; {wishes.rule.words()}",
        fitting=FITTING,
        skipped=tuple(skipped),
        arrays=_hash(pixels, labels, parts, channels),
        content_hash="",
    )
    return values.sealed()


def _statistics(
    found: Found, pixels: Array, chosen: Array, channels: int
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return mean and standard deviation of each channel, on a scale of 0 to 1."""
    counts = np.zeros((channels, 256), dtype=np.int64)
    for chunk in _chunks(pixels, chosen, channels):
        for channel in range(channels):
            counts[channel] += np.bincount(chunk[:, channel].ravel(), minlength=256)
    values, total = np.arange(256) / 255, counts.sum(axis=1)
    mean = (counts * values).sum(axis=1) / total
    std = np.sqrt((counts * (values - mean[:, None]) ** 2).sum(axis=1) / total)
    if std.min() < 5e-5:
        raise InputError(f"{found.where}: the training images are of one colour throughout")
    return tuple(mean.round(4).tolist()), tuple(std.round(4).tolist())


def _hash(pixels: Array, labels: Array, parts: dict[str, Array], channels: int) -> str:
    """Return what ``base.content_hash`` gives for the three splits."""
    digest = hashlib.sha256()
    for split in SPLITS:
        for chunk in _chunks(pixels, parts[split], channels):
            digest.update(chunk.tobytes())
        digest.update(labels[parts[split]].astype("<i8").tobytes())
    return digest.hexdigest()


def _check_same(place: Path, stands: OwnCard, made: OwnCard) -> None:
    free = ("licence", "class_names", "batch_size", "source", "skipped", "content_hash")
    for name in (one.name for one in fields(OwnCard)):
        old, new = getattr(stands, name), getattr(made, name)
        if name not in free and old != new:
            raise InputError(
                f"{place}: {name} is {_short(old)}, and {_short(new)} of what is to be "
                "prepared: allowed: the same images and options, another name, or no such file"
            )


def _short(value: object) -> str:
    words = str(value)
    return words if len(words) <= 80 else f"{words[:80]}…"


def _reported(own: OwnCard, pixels: Array, parts: dict[str, Array]) -> Iterator[str]:
    numbers = ", ".join(f"{sum(own.images[split]):,} {split}" for split in SPLITS)
    kind = "grey" if own.channels == 1 else "colour"
    yield f"{own.name}: {len(own.class_names)} classes, {kind}, images: {numbers}"
    each = own.images["train"]
    least, most = min(each), max(each)
    if most >= _IMBALANCE * least:
        names = own.class_names
        yield (
            f"classes are unequal: {least:,} training images of {names[each.index(least)]!r}, "
            f"{most:,} of {names[each.index(most)]!r}"
        )
    trained = set(_marks(pixels, parts[TRAIN]))
    if again := sum(mark in trained for mark in _marks(pixels, parts[TEST])):
        yield f"{again:,} of the test images are among the training images, pixel for pixel"


def _marks(pixels: Array, chosen: Array) -> Iterator[bytes]:
    for number in chosen:
        yield hashlib.sha256(pixels[number].tobytes()).digest()
