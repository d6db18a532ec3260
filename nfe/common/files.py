"""Files that are either whole or absent."""

import contextlib
import csv
import datetime
import errno
import fcntl
import hashlib
import io
import json
import logging
import os
import platform
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from nfe.common.errors import InputError

_log = logging.getLogger(__name__)
_LOCK = ".lock"


def write_bytes(path: Path, content: bytes) -> None:
    """Write ``content`` beside ``path``, flush it to disk, then rename it into place.

    Raises:
        OSError: it cannot be written, for instance to a full disk; the message names ``path``,
            where what stood before still stands.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
        _flush_directory(path.parent)
    except OSError as error:
        # A failed write() does not say of which file.
        raise OSError(error.errno, error.strerror, str(path)) from None
    finally:
        temporary.unlink(missing_ok=True)


def _flush_directory(folder: Path) -> None:
    """Flush renames, so that after a power cut files stand in the order they were written."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def discard_unfinished(folder: Path) -> None:
    """Remove what a killed ``write_bytes`` left in a folder that no other process writes to."""
    for leftover in folder.glob(".*.tmp"):
        leftover.unlink(missing_ok=True)


def write_json(path: Path, value: Any) -> None:
    """Write ``value`` as indented JSON with a final newline; NaN is refused."""
    write_bytes(path, (json.dumps(value, indent=2, allow_nan=False) + "\n").encode())


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        InputError: the file is missing or is not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except ValueError as error:
        raise InputError(f"{path}: not valid JSON ({error})") from None


def checksum(path: Path, algorithm: str = "sha256") -> str:
    """Return the checksum of a file, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest()


def csv_bytes(columns: Sequence[str], rows: Sequence[Mapping[str, object]]) -> bytes:
    """Return rows under a header; a missing value is an empty cell."""
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows({k: "" if v is None else v for k, v in row.items()} for row in rows)
    return text.getvalue().encode()


def write_csv(path: Path, columns: Sequence[str], rows: Sequence[Mapping[str, object]]) -> None:
    """Write rows under a header; a missing value is an empty cell."""
    write_bytes(path, csv_bytes(columns, rows))


def write_npz(path: Path, arrays: Mapping[str, np.ndarray[Any, Any]]) -> None:
    """Write arrays as a compressed npz; the same arrays always give the same bytes."""
    content = io.BytesIO()
    np.savez_compressed(content, **dict(arrays))  # type: ignore[arg-type]
    write_bytes(path, content.getvalue())


def read_npz(path: Path) -> dict[str, Any]:
    """Read every array of an npz.

    Raises:
        InputError: the file is missing or damaged.
    """
    try:
        with np.load(path, allow_pickle=False) as stored:
            return dict(stored)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except Exception as error:
        # A damaged archive raises whatever its damage happens to hit: zlib, zipfile, numpy.
        raise InputError(f"{path}: damaged ({error})") from None


def make_directory(path: Path) -> None:
    """Create a folder and check that files can be made in it.

    Raises:
        InputError: the folder cannot be created or written.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
        probe = path / f".writable.{os.getpid()}"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise InputError(f"{path}: cannot write there ({error.strerror})") from None


@contextlib.contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Hold the folder; a second process waits here until the first is done.

    The lock is one on the file ``.lock`` in it: network file systems lock files between
    machines, but not folders. It ends with the process, however that ends. The file says who
    holds it (see ``holder``).
    """
    path = folder / _LOCK
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            _lock(descriptor, folder)
            # Whoever held it before removed the file: then the lock is on nothing.
            if _stands(descriptor, path):
                _sign(descriptor)
                try:
                    yield
                finally:
                    path.unlink(missing_ok=True)
                return
        finally:
            os.close(descriptor)


def _sign(descriptor: int) -> None:
    """Write into a lock's file who holds it: for people, so that a full disk is no reason to stop.

    What a killed process has left there is overwritten.
    """
    told = {
        "machine": os.environ.get("SLURMD_NODENAME", platform.node()),
        "process": os.getpid(),
        "job": os.environ.get("SLURM_JOB_ID", ""),
        "since": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }
    with contextlib.suppress(OSError):
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, json.dumps(told).encode(), 0)


def holder(folder: Path) -> dict[str, Any] | None:
    """Return who holds a folder: machine, process, job (of SLURM, or empty) and since when.

    Returns:
        None where nobody does; nothing in it where the holder has not said yet, or where the
        file system has no locks and the file may be one that a killed process has left.
    """
    try:
        descriptor = os.open(folder / _LOCK, os.O_RDONLY)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        try:
            told: dict[str, Any] = json.loads(os.pread(descriptor, 4096, 0))
        except ValueError:
            return {}
        return told
    except OSError:
        return {}
    else:
        return None
    finally:
        os.close(descriptor)


def _lock(descriptor: int, folder: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        _log.info("%s: another process works on this; waiting for it", folder)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
    except OSError as error:
        if error.errno not in (errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK):
            raise
        _log.warning("%s: no locks on this file system; run nothing twice at a time", folder)


def _stands(descriptor: int, path: Path) -> bool:
    """Return whether the open file is still the one that stands at ``path``."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def check_free(path: Path) -> None:
    """Check that nothing stands where something new is to be written.

    Raises:
        InputError: something does.
    """
    if path.exists():
        raise InputError(f"{path}: exists: allowed: a name that is free, or remove it first")
