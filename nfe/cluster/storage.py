"""Disk space for a suite and its environment: what is free, within the user's quota."""

import functools
import getpass
import os
import re
import shutil
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from nfe.cluster import estimate
from nfe.cluster.finding import Finding, ask
from nfe.suite.run import Run

# Used, soft and hard limit of kilobytes, grace, the same of files; a star marks what is exceeded.
_ROW = re.compile(r"\b(\d+)\*?\s+(\d+)\s+(\d+)\s+\S+\s+(\d+)\*?\s+(\d+)\s+(\d+)")
# Files of a run: its results and artifacts, and two states, a lock and a log while it trains.
FILES_PER_RUN = 11


@dataclass(frozen=True)
class Quota:
    """What a user's quota leaves on a file system.

    Attributes:
        gigabytes: space that is left; None without a limit.
        files: files that are left; None without a limit.
    """

    gigabytes: float | None
    files: int | None


def findings(runs: Sequence[Run], root: Path) -> Iterator[Finding]:
    """Yield whether results fit where they are to stand, and what the environment takes."""
    folder = _existing(root)
    needed, free = estimate.disk_mb(runs) / 1000, shutil.disk_usage(folder).free / 1e9
    files = FILES_PER_RUN * len(runs)
    left = quota(folder)
    told = ""
    good = needed < free
    if left is not None and left.gigabytes is not None:
        good = good and needed < left.gigabytes
        told += f", {left.gigabytes:,.1f} GB left of your quota"
    if left is not None and left.files is not None:
        good = good and files < left.files
        told += f", {left.files:,} files left of your quota"
    said = f"{free:,.0f} GB free in {folder}{told}; at most some {needed:,.1f} GB needed"
    yield Finding(good, "disk", f"{said}, {files:,} files")
    yield _environment(Path(sys.prefix))


def _existing(path: Path) -> Path:
    return next(p for p in (path.resolve(), *path.resolve().parents) if p.exists())


@functools.cache
def size(folder: Path) -> tuple[int, int]:
    """Return how many bytes and how many files stand in a folder; links are not followed."""
    total = files = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            total += os.lstat(os.path.join(parent, name)).st_size
        files += len(names)
    return total, files


def _environment(prefix: Path) -> Finding:
    total, files = size(prefix)
    said = f"{prefix}: {total / 1e9:.1f} GB, {files:,} files"
    if prefix.resolve().is_relative_to(Path.home().resolve()):
        said += ", in your home folder: docs/slurm.md says how to keep it off a small quota"
    return Finding(True, "python", said)


def quota(folder: Path) -> Quota | None:
    """Return what the user's quota leaves; None where none is known.

    Asked of ``lfs quota`` (Lustre), then of ``quota`` (local disks and NFS). Both print kilobytes,
    soft and hard limit, grace, and the same of files, in one row; 0 is no limit.
    """
    user = getpass.getuser()
    told = ask("lfs", "quota", "-q", "-u", user, str(folder))
    if told is None:
        # It ends with 1 where a quota is exceeded.
        options = ("--no-wrap", "--raw-grace", "--filesystem", str(folder))
        told = ask("quota", *options, strict=False)
    row = _ROW.search(told or "")
    if row is None:
        return None
    space, files = row.groups()[:3], row.groups()[3:]
    gigabytes, number = _left(*space), _left(*files)
    return Quota(
        None if gigabytes is None else gigabytes * 1.024e-6,
        number,
    )


def _left(used: str, soft: str, hard: str) -> int | None:
    limit = int(hard) or int(soft)
    return max(0, limit - int(used)) if limit else None
