"""A small Tiny ImageNet in the official layout, and ``nfe-bench data`` on it as a process."""

import argparse
import dataclasses
import functools
import hashlib
import os
import signal
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from nfe import data as datasets
from nfe.common.errors import InputError, Interrupted
from nfe.data import tiny_imagenet
from nfe.data.base import Dataset

TOP = tiny_imagenet.TOP
WNIDS = ("n03", "n01", "n02")
TRAIN, TEST = 40, 4
HASH, INDEX = "TEST_CONTENT_HASH", "TEST_INDEX"


def make_tree(parent: Path, seed: int = 0) -> Path:
    """Write the official folder with made images, every eighth one grey; return it."""
    random = np.random.default_rng(seed)
    top = parent / TOP
    (top / "val/images").mkdir(parents=True)
    (top / "test/images").mkdir(parents=True)
    for wnid in WNIDS:
        folder = top / "train" / wnid / "images"
        folder.mkdir(parents=True)
        for number in range(TRAIN):
            _image(random, number % 8 == 0, folder / f"{wnid}_{number}.JPEG")
        (folder.parent / f"{wnid}_boxes.txt").write_text("unused\n")
    _image(random, False, top / "test/images/test_0.JPEG")
    labels = random.permutation(np.repeat(WNIDS, TEST))
    for number, _ in enumerate(labels):
        _image(random, number % 8 == 0, top / f"val/images/val_{number}.JPEG")
    lines = [f"val_{number}.JPEG\t{wnid}\t0\t0\t9\t9\n" for number, wnid in enumerate(labels)]
    (top / "val/val_annotations.txt").write_text("".join(lines))
    (top / "wnids.txt").write_text("".join(f"{wnid}\n" for wnid in WNIDS))
    (top / "words.txt").write_text("n01\tfish\n")
    return top


def _image(random: np.random.Generator, grey: bool, path: Path) -> None:
    coarse = random.integers(0, 256, (8, 8) if grey else (8, 8, 3), dtype=np.uint8)
    Image.fromarray(coarse).resize((64, 64), Image.Resampling.BICUBIC).save(path, "JPEG")


def zip_tree(top: Path, path: Path, wanted: Callable[[str], bool] = lambda _: True) -> Path:
    """Zip the wanted files of the folder; return the zip."""
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(top.rglob("*")):
            name = file.relative_to(top.parent).as_posix()
            if file.is_file() and wanted(name):
                archive.write(file, name)
    return path


def expected_hash(top: Path) -> str:
    """Return the content hash, worked out from its definition alone."""
    lines = []
    for label, wnid in enumerate((top / "wnids.txt").read_text().split()):
        images = list((top / "train" / wnid / "images").iterdir())
        for number in range(len(images)):
            name = f"train/{wnid}/images/{wnid}_{number}.JPEG"
            lines.append((name, label))
    wnids = (top / "wnids.txt").read_text().split()
    for text in (top / "val/val_annotations.txt").read_text().splitlines():
        name, wnid = text.split("\t")[:2]
        lines.append((f"val/images/{name}", wnids.index(wnid)))
    listing = "".join(
        f"{name} {label} {hashlib.sha256((top / name).read_bytes()).hexdigest()}\n"
        for name, label in lines
    )
    return hashlib.sha256(listing.encode()).hexdigest()


def small_dataset(index: Path, content_hash: str) -> Dataset:
    """Return the data set whose official files are the made ones."""
    real = tiny_imagenet.TINY_IMAGENET
    cards = tuple(
        dataclasses.replace(card, classes=len(WNIDS), content_hash=content_hash)
        for card in real.cards
    )
    opener = functools.partial(tiny_imagenet.open_source, index_file=index)
    return dataclasses.replace(real, cards=cards, images_per_class=TRAIN, open=opener)


def main() -> int:
    """Run ``data …`` with the made data set in the real one's place."""
    from nfe.cli.data import add_data_commands

    small = small_dataset(Path(os.environ[INDEX]), os.environ[HASH])
    datasets._DATASETS["tiny-imagenet"] = small
    parser = argparse.ArgumentParser()
    add_data_commands(parser.add_subparsers())
    arguments = parser.parse_args()
    try:
        return int(arguments.handler(arguments))
    except (InputError, Interrupted) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    # A shell's background jobs ignore Ctrl-C, and their children inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.exit(main())
