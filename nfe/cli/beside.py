"""Runs of one process's list beside one another: ``nfe-bench run --workers``."""

import contextlib
import dataclasses
import functools
import logging
import math
import multiprocessing
import os
import signal
from collections.abc import Iterator, Sequence
from types import FrameType
from typing import TYPE_CHECKING

from nfe.cli.logs import log_to_stderr
from nfe.common.errors import InputError, Interrupted

if TYPE_CHECKING:
    from nfe.engine.pool import Job
    from nfe.engine.runner import Worker

_log = logging.getLogger(__name__)


def _workplace(worker: "Worker") -> "Worker":
    """Return the workplace of a process, whose lines in the log say which one it is."""
    from nfe.engine.pool import VISIBLE_GPUS

    log_to_stderr(multiprocessing.current_process().name)
    _log.info("on GPUs %s", os.environ.get(VISIBLE_GPUS, "not restricted") or "none")
    return worker


def gpus(devices: int) -> list[str]:
    """Return the first GPUs that are visible here, as ``CUDA_VISIBLE_DEVICES`` names them.

    Args:
        devices: how many.

    Raises:
        InputError: there are fewer.
    """
    from nfe.engine.pool import VISIBLE_GPUS

    told = os.environ.get(VISIBLE_GPUS)
    if told is None:
        import torch

        told = ",".join(map(str, range(torch.cuda.device_count())))
    names = [name.strip() for name in told.split(",") if name.strip()]
    if not 1 <= devices <= len(names):
        seen = f"1 to {len(names)}, the GPUs that are visible" if names else "no GPU is visible"
        raise InputError(f"devices is {devices}: allowed: {seen} ({VISIBLE_GPUS}={told})")
    return names[:devices]


def _places(devices: int, workers: int) -> list[dict[str, str]]:
    """Return what each process finds in its environment: its GPU, in turn."""
    from nfe.engine.pool import VISIBLE_GPUS

    if devices == 1:
        return []
    names = gpus(devices)
    return [{VISIBLE_GPUS: names[n % devices]} for n in range(workers)]


@contextlib.contextmanager
def _requests() -> Iterator[list[int]]:
    """Note the signals that ask a run to stop, in place of ending at once."""
    came: list[int] = []

    def note(number: int, _frame: FrameType | None) -> None:
        came.append(number)

    previous = {s: signal.signal(s, note) for s in (signal.SIGTERM, signal.SIGUSR1)}
    try:
        yield came
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def attempt_all(jobs: Sequence["Job"], worker: "Worker", workers: int, devices: int = 1) -> bool:
    """Make runs, several at a time; one that fails leaves the others be.

    Args:
        jobs: runs with their places; none may combine others.
        worker: where each process makes them.
        workers: processes at a time.
        devices: GPUs over which they are divided, in turn; each process sees its own alone.

    Returns:
        Whether every run is complete.

    Raises:
        InputError: fewer GPUs are there.
        Interrupted: SIGTERM or SIGUSR1 came; each run in progress has saved its state.
    """
    from nfe.engine.pool import execute_all, shared_gpu

    workers = min(workers, len(jobs))
    on_gpu = worker.device.type == "cuda"
    at_once = math.ceil(workers / devices)
    make = functools.partial(_workplace, dataclasses.replace(worker, at_once=at_once))
    found = []
    shared = shared_gpu() if on_gpu and at_once > 1 else contextlib.nullcontext()
    with _requests() as came, shared:
        places = _places(devices, workers)
        for outcome in execute_all(jobs, make, workers, asked=lambda: bool(came), places=places):
            found.append(outcome.status)
            _log.info("%s: %s %s", outcome.name, outcome.status, outcome.reason)
    if came or "interrupted" in found:
        by = f"signal {came[0]}" if came else "a signal to a process of its own"
        raise Interrupted(f"stopped by {by}; {found.count('done')} of {len(jobs)} runs are done")
    return found.count("done") == len(jobs)
