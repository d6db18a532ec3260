"""The card of a data set of one's own: a YAML file, ``config/data/NAME.yaml``.

``nfe-bench data prepare`` writes it. Its content hash stands for the arrays and for everything
else that decides a run's numbers, so an edit of those is noticed; licence, class names and batch
size may be edited.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, ClassVar

import yaml
from pydantic import ConfigDict, TypeAdapter

from nfe.common.cards import read_card, unless_changed
from nfe.common.errors import InputError
from nfe.common.files import write_bytes
from nfe.data import prepared
from nfe.data.base import Card, Dataset

FOLDER = Path("config/data")
NAME = re.compile(r"[a-z0-9]+([-.][a-z0-9]+)*")
NOT_STATED = "not stated"
SPLITS = prepared.SPLITS

_HEADER = """\
# A data set, as nfe-bench data prepare found it. The content hash is part of every run's identity:
# what it stands for (arrays, resolution, channels, mean, std, padding, flip) is changed by
# preparing again. licence, class_names and batch_size may be edited.
"""


@dataclass(frozen=True)
class OwnCard:
    """What the file says.

    Attributes:
        name: the name used in configurations.
        licence: the images' terms of use, in words.
        resolution: side of the square images, in pixels.
        channels: 1 or 3.
        class_names: in the order of the labels.
        images: images of each class, in that order, of each split.
        mean: per-channel mean of the training split, on a scale of 0 to 1.
        std: per-channel standard deviation of the training split, on the same scale.
        padding: pixels of black added to each side before the random crop.
        flip: whether horizontal flips are a valid augmentation.
        batch_size: distinct images per batch unless a configuration says otherwise.
        source: what the images were made from, and how they were divided, in words.
        fitting: how images of other sizes became square, in words.
        skipped: images that could not be read and were left out.
        arrays: SHA-256 over the images and labels of the three splits (``base.content_hash``).
        content_hash: SHA-256 over that and all else that decides a run's numbers.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid", allow_inf_nan=False)

    name: str
    licence: str
    resolution: int
    channels: int
    class_names: tuple[str, ...]
    images: dict[str, tuple[int, ...]]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    padding: int
    flip: bool
    batch_size: int
    source: str
    fitting: str
    skipped: tuple[str, ...]
    arrays: str
    content_hash: str

    def hashed(self) -> str:
        """Return the content hash that belongs to the other fields."""
        deciding = ("arrays", "resolution", "channels", "mean", "std", "padding", "flip")
        text = json.dumps({key: getattr(self, key) for key in deciding}, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

    def sealed(self) -> OwnCard:
        """Return the card with the content hash that belongs to it."""
        return replace(self, content_hash=self.hashed())

    def card(self) -> Card:
        """Return the facts as the engine wants them."""
        return Card(
            name=self.name,
            resolution=self.resolution,
            channels=self.channels,
            classes=len(self.class_names),
            mean=self.mean,
            std=self.std,
            padding=self.padding,
            flip=self.flip,
            batch_size=self.batch_size,
            content_hash=self.content_hash,
        )

    def dataset(self) -> Dataset:
        """Return the data set that the card describes."""
        trained = zip(self.images["train"], self.images["heldout"], strict=True)
        return Dataset(
            name=self.name,
            cards=(self.card(),),
            images_per_class=max(map(sum, trained)),
            load=prepared.load,
            open=_from_its_source,
            class_names=self.class_names,
        )


def _from_its_source(card: Card, _source: Path, _scratch: Path) -> Any:
    raise InputError(
        f"{card.name} is a data set of your own: nfe-bench data prepare {card.name} "
        f"--source PATH --resolution {card.resolution}"
    )


_CARD = TypeAdapter(OwnCard)


def write(path: Path, own: OwnCard) -> None:
    """Write a card as YAML; the same card always gives the same bytes."""
    values = {field.name: _plain(getattr(own, field.name)) for field in fields(own)}
    text = yaml.safe_dump(values, sort_keys=False, allow_unicode=True, default_flow_style=None)
    write_bytes(path, (_HEADER + text).encode())


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items()}
    return list(value) if isinstance(value, tuple) else value


@unless_changed
def read(path: Path) -> OwnCard:
    """Read a card.

    Raises:
        InputError: it is no card, its facts contradict one another, or are not those that its
            content hash stands for; the message names the file.
    """
    own = read_card(path, _CARD)
    _check(path, own)
    return own


def _check(path: Path, own: OwnCard) -> None:
    check_name(own.name)
    classes = len(own.class_names)
    if classes < 2 or len(set(own.class_names)) != classes:
        raise InputError(f"{path}: class_names: allowed: two or more, all different")
    if set(own.images) != set(SPLITS) or any(len(n) != classes for n in own.images.values()):
        raise InputError(
            f"{path}: images: allowed: for each of {', '.join(SPLITS)} as many numbers as classes"
        )
    if own.batch_size < 1:
        raise InputError(f"{path}: batch_size is {own.batch_size}: allowed: whole numbers from 1")
    if own.content_hash != own.hashed():
        raise InputError(
            f"{path}: resolution, channels, mean, std, padding, flip or arrays were edited: they "
            "are not those that the content hash stands for: undo the edit, or remove the file "
            "and prepare the data set again"
        )


def check_name(name: str) -> None:
    """Check that a data set of one's own can be called ``name``.

    Raises:
        InputError: it cannot.
    """
    reserved = name.endswith(prepared.CORRUPTED) or name in ("unseen", "photographs", "downloads")
    if not NAME.fullmatch(name) or reserved:
        raise InputError(
            f"data set name {name!r}: allowed: small letters a to z, digits, and - or . between "
            f"them; not ending in {prepared.CORRUPTED}, not unseen, photographs or downloads"
        )


def place(name: str) -> Path:
    """Return where a card stands: beside the suites of the project, the working directory."""
    return FOLDER / f"{name}.yaml"


def names() -> list[str]:
    """Return the names of the project's own data sets."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def dataset_from_card(path: Path) -> Dataset:
    """Return the data set of a card: what a package registers under ``nfe_bench.datasets``.

    Raises:
        InputError: see ``read``.
    """
    return read(path).dataset()
