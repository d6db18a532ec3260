"""Prepared data on a node's own disk: copied there once, by whichever job comes first."""

import os
import shutil
import stat
from pathlib import Path

from nfe.common.errors import InputError
from nfe.common.files import alone, make_directory
from nfe.data import prepared
from nfe.data.base import Card


def stage(card: Card, root: Path | None, scratch: Path) -> Path | None:
    """Return the root folder from which to load a data set, on ``scratch`` where it is prepared.

    Args:
        card: the whole data set.
        root: folder of prepared data (default: ``data``).
        scratch: folder on this node's disk; the copy is named after the data's content hash,
            so that it can be shared and never goes stale.

    Raises:
        InputError: ``scratch`` cannot be written or is full.
    """
    source = prepared.folder(card, root)
    if not source.exists():
        return root
    staged = scratch / f"nfe-bench-{os.getuid()}-{card.content_hash[:16]}"
    target = prepared.folder(card, staged)
    make_directory(staged)
    with alone(staged):
        if not target.exists():
            _copy(source, target)
    return staged


def _copy(source: Path, target: Path) -> None:
    """Copy a folder, read-only, all of it or nothing."""
    copied = target.with_name(f".{target.name}.tmp")
    shutil.rmtree(copied, ignore_errors=True)
    try:
        shutil.copytree(source, copied)
        for file in copied.iterdir():
            file.chmod(stat.S_IRUSR | stat.S_IRGRP | stat.S_IROTH)
        copied.rename(target)
    except OSError as error:
        shutil.rmtree(copied, ignore_errors=True)
        raise InputError(f"{target}: cannot be copied there ({error})") from None
