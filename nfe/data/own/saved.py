"""A folder that ``datasets.Dataset.save_to_disk`` wrote: Hugging Face's library, an extra."""

import io
from functools import partial
from pathlib import Path
from typing import Any

from PIL import Image

from nfe.common.errors import InputError
from nfe.data import image_files
from nfe.data.image_files import Tell
from nfe.data.own.found import UNDIVIDED, Found, Item, split_called, text

_MARKS = ("dataset_dict.json", "state.json")


def is_saved(source: Path) -> bool:
    """Return whether a folder is one that the library wrote."""
    return any((source / mark).is_file() for mark in _MARKS)


def find(source: Path) -> Found:
    """Return the images of a saved data set, or of a saved dictionary of splits.

    The columns are those of the features ``Image`` and ``ClassLabel``.

    Raises:
        InputError: the library is not installed, the folder is damaged, or it has not one column
            of each of these features.
    """
    try:
        import datasets
    except ImportError:
        raise InputError(
            f"{source}: to read a folder of the datasets library: pip install "
            "'nfe-bench[huggingface]'"
        ) from None
    try:
        loaded = datasets.load_from_disk(str(source))
    except Exception as error:
        raise InputError(f"{source}: cannot be loaded ({error})") from None
    parts = loaded if isinstance(loaded, dict) else {UNDIVIDED: loaded}
    items: list[Item] = []
    names: tuple[str, ...] = ()
    for name, part in parts.items():
        split = split_called(name, str(source)) if name else UNDIVIDED
        image = _column(source, part, datasets.Image)
        label = _column(source, part, datasets.ClassLabel)
        called = tuple(text(one) for one in part.features[label].names)
        if names and called != names:
            raise InputError(f"{source}: {name} names other classes than the splits before it")
        names = called
        undecoded = part.cast_column(image, datasets.Image(decode=False))
        items += _items(f"{source}: {name or 'row'}", split, undecoded, (image, label), names)
    if not items:
        raise InputError(f"{source}: no images: allowed: one or more of each class")
    _check_names(source, names, items)
    return Found(str(source), "datasets library", names, tuple(items))


def _column(source: Path, part: Any, feature: type) -> str:
    found: list[str] = [name for name, kind in part.features.items() if isinstance(kind, feature)]
    if len(found) != 1:
        raise InputError(
            f"{source}: columns of the feature {feature.__name__}: {', '.join(found) or 'none'}: "
            "allowed: one"
        )
    return found[0]


def _items(
    where: str, split: str, part: Any, columns: tuple[str, str], names: tuple[str, ...]
) -> list[Item]:
    image, label = columns
    numbers = list(part[label])
    for number, one in enumerate(numbers):
        if one is None or not 0 <= one < len(names):
            raise InputError(f"{where}[{number}]: label {one}: allowed: 0 to {len(names) - 1}")
    return [
        Item(f"{where}[{n}]", split, names[one], partial(_read, part, image, n, f"{where}[{n}]"))
        for n, one in enumerate(numbers)
    ]


def _check_names(source: Path, names: tuple[str, ...], items: list[Item]) -> None:
    used = {item.label for item in items}
    if missing := [name for name in names if name not in used]:
        raise InputError(f"{source}: no image of class {missing[0]}: allowed: one or more of each")


def _read(part: Any, column: str, number: int, name: str, tell: Tell) -> Image.Image:
    stored = part[number][column]
    if stored is None:
        raise InputError(f"{name}: no image there")
    if stored["bytes"] is None:
        return image_files.opened(Path(stored["path"]), "RGB", tell=tell)
    return image_files.opened(io.BytesIO(stored["bytes"]), "RGB", name, tell)
