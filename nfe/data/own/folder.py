"""Image files in a tree: ``train/CLASS/…`` and ``test/CLASS/…``, or ``CLASS/…`` to be divided."""

import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from PIL import Image

from nfe.common.errors import InputError
from nfe.data import image_files
from nfe.data.image_files import Tell
from nfe.data.own.found import ALSO, TEST, TRAIN, UNDIVIDED, Found, Item, some, text

# What file managers leave behind.
_LEFT_BEHIND = ("thumbs.db", "desktop.ini")


def find(source: Path) -> Found:
    """Return the images of a tree, by class and path.

    Classes are in the order of their names' letters. Every file below a class's folder, at
    whatever depth, is taken for an image, but for hidden ones.

    Raises:
        InputError: a split is missing, files lie where folders are expected, or there are no
            images.
    """
    folders = {text(folder.name): folder for folder in _folders(source)}
    splits = {name: ALSO[name.lower()] for name in folders if name.lower() in ALSO}
    if not splits:
        return _found(source, list(_classes(source, UNDIVIDED)), "folders of classes")
    _check_splits(source, folders, splits)
    items = [item for name, split in splits.items() for item in _classes(folders[name], split)]
    return _found(source, items, "folders of splits and classes")


def _check_splits(source: Path, folders: dict[str, Path], splits: dict[str, str]) -> None:
    if other := sorted(set(folders) - set(splits)):
        raise InputError(
            f"{source}: {some(other)} beside {', '.join(sorted(splits))}: allowed: folders of "
            "splits (train, test and perhaps val) or folders of classes, not both"
        )
    if len(set(splits.values())) != len(splits):
        raise InputError(f"{source}: {', '.join(sorted(splits))}: allowed: each split once")
    for wanted in (TRAIN, TEST):
        if wanted not in splits.values():
            raise InputError(
                f"{source}: no folder {wanted} beside {', '.join(sorted(splits))}: allowed: train "
                "and test (and val), or folders of classes with --test-share"
            )


def _folders(source: Path) -> list[Path]:
    """Return the folders in one that holds nothing else."""
    try:
        entries = sorted(e for e in source.iterdir() if not _ignored(e.name))
    except OSError as error:
        raise InputError(f"{source}: cannot be read ({error.strerror})") from None
    if loose := [entry.name for entry in entries if not entry.is_dir()]:
        raise InputError(f"{source}: {some(loose)}: allowed there: folders alone, no files")
    if not entries:
        raise InputError(f"{source}: no images: allowed: a folder of image files for each class")
    return entries


def _ignored(name: str) -> bool:
    return name.startswith(".") or name.lower() in _LEFT_BEHIND


def _classes(folder: Path, split: str) -> Iterator[Item]:
    for place in sorted(_folders(folder), key=lambda path: text(path.name)):
        files = sorted(_files(place), key=text)
        if not files:
            raise InputError(f"{place}: no images: allowed: one or more of each class")
        for file in files:
            yield Item(str(file), split, text(place.name), partial(_read, file))


def _files(folder: Path) -> Iterator[Path]:
    def unreadable(error: OSError) -> None:
        raise InputError(f"{error.filename}: cannot be read ({error.strerror})")

    for parent, below, names in os.walk(folder, onerror=unreadable):
        below[:] = [name for name in below if not _ignored(name)]
        yield from (Path(parent, name) for name in names if not _ignored(name))


def _read(path: Path, tell: Tell) -> Image.Image:
    return image_files.opened(path, "RGB", tell=tell)


def _found(source: Path, items: list[Item], kind: str) -> Found:
    names = tuple(sorted({item.label for item in items}))
    ordered = sorted(items, key=lambda item: item.label)  # stable: by path within a class
    return Found(str(source), kind, names, tuple(ordered))
