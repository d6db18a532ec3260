"""JPEG files to pixels, on every core, in order, a bounded number at a time."""

import collections
import io
import itertools
import multiprocessing
import os
import signal
import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import connection
from typing import Self

import numpy as np
from PIL import Image

from nfe.common.errors import InputError
from nfe.data.base import Array

CHUNK = 256

Named = tuple[str, bytes]


def decode(content: bytes, name: str, side: int, resolution: int) -> Array:
    """Return the pixels (3, resolution, resolution) uint8 of a square JPEG file.

    Grey images get three equal channels. A smaller resolution averages square blocks of
    pixels, rounded to the nearest, halves up.

    Args:
        content: the file.
        name: what an error calls it.
        side: pixels of the image's side.
        resolution: wanted side; divides ``side``.

    Raises:
        InputError: it is not a whole RGB or grey JPEG of that size.
    """
    try:
        with Image.open(io.BytesIO(content), formats=["JPEG"]) as image:
            if image.size != (side, side) or image.mode not in ("RGB", "L"):
                size = "×".join(str(n) for n in image.size)
                raise InputError(
                    f"{name}: a {image.mode} image of {size} pixels, not {side}×{side}"
                )
            pixels = image.convert("RGB")
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{name}: not a whole JPEG file ({error})") from None
    if resolution != side:
        pixels = pixels.reduce(side // resolution)
    return np.asarray(pixels).transpose(2, 0, 1)


def cores() -> int:
    """Return how many cores this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _decode_chunk(chunk: list[Named], side: int, resolution: int) -> Array:
    out = np.empty((len(chunk), 3, resolution, resolution), np.uint8)
    for row, (name, content) in zip(out, chunk, strict=True):
        row[:] = decode(content, name, side, resolution)
    return out


def _start_worker() -> None:
    """Leave interrupts to the parent, and do not outlive it, even if it is killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_exit_after, args=(parent.sentinel,), daemon=True).start()


def _exit_after(sentinel: int) -> None:
    connection.wait([sentinel])
    os._exit(1)


class Decoder:
    """Decodes on as many processes as there are cores to run on."""

    def __init__(self, side: int, resolution: int) -> None:
        self._sizes = side, resolution
        self._cores = cores()
        # A fork server starts clean: workers share no threads, locks or memory with this process.
        self._pool = ProcessPoolExecutor(
            self._cores, multiprocessing.get_context("forkserver"), _start_worker
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(cancel_futures=True)

    def images(self, files: Iterable[Named]) -> Iterator[Array]:
        """Yield the pixels of the files in order, in chunks (k, 3, resolution, resolution).

        Raises:
            InputError: a file cannot be decoded.
        """
        pending: collections.deque[Future[Array]] = collections.deque()
        remaining = iter(files)
        try:
            while chunk := list(itertools.islice(remaining, CHUNK)):
                pending.append(self._pool.submit(_decode_chunk, chunk, *self._sizes))
                if len(pending) > 2 * self._cores:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        except BrokenProcessPool:
            raise InputError("decoding stopped: a worker process was killed; run again") from None
