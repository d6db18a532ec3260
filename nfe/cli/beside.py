"""Runs of one process's list beside one another: ``nfe-bench run --workers``."""

import contextlib
import dataclasses
import functools
import logging
import multiprocessing
import signal
from collections.abc import Iterator, Sequence
from types import FrameType
from typing import TYPE_CHECKING

from nfe.cli.logs import log_to_stderr
from nfe.common.errors import Interrupted

if TYPE_CHECKING:
    from nfe.engine.pool import Job
    from nfe.engine.runner import Worker

_log = logging.getLogger(__name__)


def _workplace(worker: "Worker") -> "Worker":
    """Return the workplace of a process, whose lines in the log say which one it is."""
    log_to_stderr(multiprocessing.current_process().name)
    return worker


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


def attempt_all(jobs: Sequence["Job"], worker: "Worker", workers: int) -> bool:
    """Make runs, several at a time on one device; one that fails leaves the others be.

    Args:
        jobs: runs with their places; none may combine others.
        worker: where each process makes them.
        workers: processes at a time.

    Returns:
        Whether every run is complete.

    Raises:
        Interrupted: SIGTERM or SIGUSR1 came; each run in progress has saved its state.
    """
    from nfe.engine.pool import execute_all, shared_gpu

    workers = min(workers, len(jobs))
    make = functools.partial(_workplace, dataclasses.replace(worker, at_once=workers))
    found = []
    on_gpu = worker.device.type == "cuda"
    with _requests() as came, shared_gpu() if on_gpu else contextlib.nullcontext():
        for outcome in execute_all(jobs, make, workers, asked=lambda: bool(came)):
            found.append(outcome.status)
            _log.info("%s: %s %s", outcome.name, outcome.status, outcome.reason)
    if came or "interrupted" in found:
        by = f"signal {came[0]}" if came else "a signal to a process of its own"
        raise Interrupted(f"stopped by {by}; {found.count('done')} of {len(jobs)} runs are done")
    return found.count("done") == len(jobs)
