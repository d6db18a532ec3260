"""Prepared data: one memory-mappable uint8 .npy file per split, sealed by a manifest.

``ROOT/NAME/RESOLUTION/`` holds train, heldout and test images, their labels, and
manifest.json with the SHA-256 of every file. The folder appears in one step, complete.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import logging
import os
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from nfe.common.errors import InputError
from nfe.common.files import alone, checksum, make_directory, read_json, write_json
from nfe.data.base import Array, Card, Data, Source, Split
from nfe.data.splits import held_out

_log = logging.getLogger(__name__)

DEFAULT_ROOT = Path("data")
FORMAT = 1
MANIFEST = "manifest.json"
# Ends the name of a data set's corrupted test images.
CORRUPTED = "-c"
SPLITS = ("train", "heldout", "test")


def folder(card: Card, root: Path | None, kind: str = "") -> Path:
    """Return the folder of a variant's prepared files; ``kind`` is a suffix of the name."""
    return (root or DEFAULT_ROOT) / f"{card.name}{kind}" / str(card.resolution)


class Writer:
    """Writes arrays into a folder that is being made, and remembers their checksums."""

    def __init__(self, scratch: Path) -> None:
        self.scratch = scratch
        self.files: dict[str, dict[str, Any]] = {}

    def array(self, name: str, shape: tuple[int, ...], dtype: str, chunks: Iterable[Array]) -> None:
        """Write chunks, one after another along the first axes, as one .npy file."""
        header = io.BytesIO()
        np.lib.format.write_array_header_1_0(
            header, {"descr": dtype, "fortran_order": False, "shape": shape}
        )
        digest = hashlib.sha256(header.getvalue())
        with open(self.scratch / f"{name}.npy", "wb") as file:
            file.write(header.getvalue())
            for chunk in chunks:
                content = chunk.astype(dtype, copy=False).tobytes()
                digest.update(content)
                file.write(content)
            file.flush()
            os.fsync(file.fileno())
            size = file.tell()
        self.files[f"{name}.npy"] = {"bytes": size, "sha256": digest.hexdigest()}

    def split(self, name: str, card: Card, images: Iterable[Array], labels: Array) -> None:
        """Write a split's images and labels."""
        shape = (len(labels), card.channels, card.resolution, card.resolution)
        self.array(name, shape, "|u1", images)
        self.array(f"{name}_labels", labels.shape, "<i8", [labels])


def write_splits(writer: Writer, card: Card, source: Source) -> None:
    """Write the three splits of official files."""
    official = source.labels("train")
    parts = dict(zip(("train", "heldout"), held_out(official), strict=True))
    for name, indices in parts.items():
        writer.split(name, card, source.images("train", indices), official[indices])
    test = source.labels("test")
    writer.split("test", card, source.images("test", np.arange(len(test))), test)
    source.verify()


@contextlib.contextmanager
def making(target: Path, identity: dict[str, Any]) -> Iterator[Writer | None]:
    """Make a prepared folder, all of it or nothing; give None where it stands already.

    One process at a time works in the folder's parent; what a killed one left is removed.

    Args:
        target: the folder to make.
        identity: what the manifest says of it, besides the files.

    Raises:
        InputError: the disk is full or the folder cannot be written.
    """
    make_directory(target.parent)
    scratch = target.with_name(f".{target.name}.partial")
    with alone(target.parent):
        if is_sound(target, identity):
            yield None
            return
        try:
            shutil.rmtree(scratch, ignore_errors=True)
            scratch.mkdir()
            writer = Writer(scratch)
            yield writer
            write_json(scratch / MANIFEST, {**identity, "files": writer.files})
            shutil.rmtree(target, ignore_errors=True)
            os.rename(scratch, target)
        except OSError as error:
            raise InputError(f"{target}: cannot be written ({error.strerror})") from None
        finally:
            shutil.rmtree(scratch, ignore_errors=True)


def identity(card: Card) -> dict[str, Any]:
    """Return what a manifest says of a variant."""
    return {
        "format": FORMAT,
        "dataset": card.name,
        "resolution": card.resolution,
        "content_hash": card.content_hash,
    }


def is_sound(target: Path, expected: dict[str, Any]) -> bool:
    """Return whether a prepared folder is there, the right one, and undamaged."""
    if not target.exists():
        return False
    try:
        check(target, expected)
    except InputError as error:
        _log.warning("%s; made again", error)
        return False
    return True


def check(target: Path, expected: dict[str, Any]) -> int:
    """Check every file of a prepared folder and return how many bytes they are.

    Raises:
        InputError: the folder is of another data set, or a file is missing or altered.
    """
    total = 0
    for name, record in manifest(target, expected)["files"].items():
        path = target / name
        _check_size(path, record["bytes"])
        found = checksum(path)
        if found != record["sha256"]:
            raise InputError(f"{path}: SHA-256 {found} is not the {record['sha256']} of {MANIFEST}")
        total += record["bytes"]
    return total


def manifest(target: Path, expected: dict[str, Any]) -> dict[str, Any]:
    """Return the manifest of a prepared folder.

    Raises:
        InputError: there is none, or it is of other data than expected.
    """
    found: dict[str, Any] = read_json(target / MANIFEST)
    for key, value in expected.items():
        if found.get(key) != value:
            raise InputError(
                f"{target / MANIFEST}: {key} is {found.get(key)!r}, not {value!r}: prepare it again"
            )
    return found


def array(target: Path, name: str, record: dict[str, Any]) -> Array:
    """Map a prepared array into memory; pages are read when they are used.

    Raises:
        InputError: the file is missing or not as long as the manifest says.
    """
    path = target / f"{name}.npy"
    _check_size(path, record[path.name]["bytes"])
    # Copy on write: PyTorch wants writable memory, and the file must never change.
    mapped: Array = np.load(path, mmap_mode="c", allow_pickle=False)
    return mapped


def load(card: Card, root: Path | None) -> Data:
    """Return the splits of a prepared data set, mapped into memory.

    Raises:
        InputError: it is not prepared, or prepared from other files, or a file is cut short.
    """
    import torch

    target = folder(card, root)
    if not target.exists():
        raise InputError(
            f"{target}: {card.name} at {card.resolution} pixels is not prepared there: "
            f"nfe-bench data prepare {card.name} --root {root or DEFAULT_ROOT}"
        )
    files = manifest(target, identity(card))["files"]
    splits = [
        Split(*(torch.from_numpy(array(target, n, files)) for n in (name, f"{name}_labels")))
        for name in SPLITS
    ]
    return Data(card, *splits)


def _check_size(path: Path, expected: int) -> None:
    try:
        size = path.stat().st_size
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None
    if size != expected:
        raise InputError(f"{path}: {size:,} bytes, not {expected:,}: prepare it again")
