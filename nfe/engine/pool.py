"""Several trainings at once, each in a process of its own: small networks leave most of a GPU idle.

What a run computes does not depend on its neighbours, so identities and bits are those of one run
after the other; only ``train_seconds`` is that of a shared device.
"""

import contextlib
import logging
import math
import multiprocessing
import os
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from typing import Any, cast

from nfe.common.errors import Interrupted
from nfe.common.files import read_json
from nfe.engine.runner import RunFolders, Worker, attempt
from nfe.suite.run import Run

_log = logging.getLogger(__name__)

Job = tuple[Run, RunFolders]
# What a process does with a task: called in it, once, it returns the function of a task.
Prepare = Callable[[], Callable[[Any], Any]]
# Between looks at the clock.
LOOK_SECONDS = 0.2
# Numbers of GPUs, or their UUIDs, that processes see.
VISIBLE_GPUS = "CUDA_VISIBLE_DEVICES"


@dataclass(frozen=True)
class Outcome:
    """What became of a task.

    Attributes:
        name: the task's name, a run's own.
        status: ``done``, ``interrupted`` (a run's state is saved) or ``failed``.
        seconds: wall time it took, on a shared device.
        reason: why it failed, in one line.
        result: what was returned where it is done; None for a run.
    """

    name: str
    status: str
    seconds: float
    reason: str = ""
    result: Any = None


@contextlib.contextmanager
def shared_gpu() -> Iterator[bool]:
    """Let processes started inside compute on the GPU side by side, where NVIDIA's MPS is.

    A private daemon (its pipes in a folder of its own) serves them and ends with the block; other
    users' daemons and the device's settings are left alone. It numbers the GPUs that it was started
    on anew, from 0, and so they are called inside. Gives whether there is a daemon.
    """
    control = shutil.which("nvidia-cuda-mps-control")
    if control is None or "CUDA_MPS_PIPE_DIRECTORY" in os.environ:
        yield control is not None
        return
    with tempfile.TemporaryDirectory(prefix="nfe-mps-") as folder:
        own = {"CUDA_MPS_PIPE_DIRECTORY": folder, "CUDA_MPS_LOG_DIRECTORY": folder}
        environment = os.environ | own
        started = subprocess.run([control, "-d"], env=environment, capture_output=True, check=False)
        if started.returncode:
            _log.warning("MPS did not start: %s", started.stderr.decode(errors="replace").strip())
            yield False
            return
        visible = os.environ.get(VISIBLE_GPUS, "").split(",")
        if all(name.strip().isdecimal() for name in visible):
            own[VISIBLE_GPUS] = ",".join(map(str, range(len(visible))))
        try:
            with _environment(own):
                yield True
        finally:
            try:
                subprocess.run([control], input=b"quit\n", env=environment, check=False, timeout=10)
            except subprocess.TimeoutExpired:
                _log.warning("MPS did not end: %s", folder)


@contextlib.contextmanager
def _environment(changes: Mapping[str, str]) -> Iterator[None]:
    """Let processes started inside find some variables changed."""
    before = dict(os.environ)
    os.environ.update(changes)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def _work(channel: Connection, prepare: Prepare) -> None:
    """Do one task after another as they are handed over, until the channel is closed."""
    # The terminal's interrupt is the parent's to handle.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    perform = prepare()
    # Where the parent is gone, nobody is left to hear of it.
    with contextlib.suppress(EOFError, BrokenPipeError):
        while True:
            name, task = channel.recv()
            channel.send(_done(name, task, perform))


def _end_with_parent() -> None:
    """Stop as on SIGTERM once the parent is gone: nobody else would end what it began."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)


def _done(name: str, task: Any, perform: Callable[[Any], Any]) -> Outcome:
    started, status, reason, result = time.perf_counter(), "done", "", None
    try:
        result = perform(task)
    except Interrupted as error:
        status, reason = "interrupted", str(error)
    except Exception as error:
        # Whatever ends one task must not end the others.
        status, reason = "failed", f"{type(error).__name__}: {error}"
    return Outcome(name, status, time.perf_counter() - started, reason, result)


class _Crew:
    """The processes that do tasks, and what each has in hand."""

    def __init__(self, prepare: Prepare, places: Sequence[Mapping[str, str]]) -> None:
        self._prepare = prepare
        # What each process finds in its environment; the next one in its place finds the same.
        self._free = list(reversed(places))
        self._taken: dict[Connection, Mapping[str, str]] = {}
        self._context = multiprocessing.get_context("spawn")
        self._processes: dict[Connection, SpawnProcess] = {}
        self.busy: dict[Connection, str] = {}

    def start(self) -> Connection:
        """Start a process and return the channel to it."""
        ours, theirs = self._context.Pipe()
        process = self._context.Process(target=_work, args=(theirs, self._prepare))
        self._taken[ours] = self._free.pop()
        with _environment(self._taken[ours]):
            process.start()
        theirs.close()
        self._processes[ours] = process
        return ours

    def hand(self, channel: Connection, task: tuple[str, Any]) -> None:
        """Give a process its next task, with its name."""
        channel.send(task)
        self.busy[channel] = task[0]

    def hear(self, channel: Connection, told: bool) -> tuple[Outcome, bool]:
        """Return what became of a process's task, and whether the process is there for another."""
        name = self.busy.pop(channel)
        try:
            outcome: Outcome = channel.recv()
        except (EOFError, OSError):
            # Told to stop before it trained, it had no state to save.
            reason = f"its process ended with status {self.dismiss(channel)}"
            return Outcome(name, "interrupted" if told else "failed", 0.0, reason), False
        return outcome, True

    def dismiss(self, channel: Connection) -> int | None:
        """Let a process end and return its exit status."""
        channel.close()
        process = self._processes.pop(channel)
        process.join()
        self._free.append(self._taken.pop(channel))
        return process.exitcode

    def interrupt(self) -> None:
        """Ask every task in progress to stop, a run to save its state before."""
        for channel in self.busy:
            self._processes[channel].terminate()

    def kill(self) -> None:
        """End what is left at once."""
        for process in self._processes.values():
            process.kill()
            process.join()


def perform_all(
    tasks: Sequence[tuple[str, Any]],
    prepare: Prepare,
    workers: int,
    seconds: float = math.inf,
    asked: Callable[[], bool] = lambda: False,
    places: Sequence[Mapping[str, str]] = (),
) -> Iterator[Outcome]:
    """Do tasks in ``workers`` processes and yield what became of each as it ends.

    After ``seconds``, or once ``asked``, no further task is begun, and those in progress get
    SIGTERM, which ends them unless they handle it. So they do when this process dies. A process of
    theirs that dies (out of memory, say) takes its task with it, not the others: another one is
    started in its place.

    Args:
        tasks: names and what a process is handed, in the order in which they are begun.
        prepare: called once in each process; a function of a module, to be sent there.
        workers: processes at a time, from 1.
        seconds: when to stop, from now.
        asked: whether to stop; called several times a second.
        places: what each process finds changed in its environment, one a process; none: nothing.
    """
    crew = _Crew(prepare, places or [{}] * workers)
    waiting, stop_at = list(reversed(tasks)), time.monotonic() + seconds
    told = False
    try:
        for _ in range(min(workers, len(waiting))):
            crew.hand(crew.start(), waiting.pop())
        while crew.busy:
            if not told and (time.monotonic() >= stop_at or asked()):
                told = True
                crew.interrupt()
            for channel in cast("list[Connection]", wait(list(crew.busy), LOOK_SECONDS)):
                outcome, alive = crew.hear(channel, told)
                yield outcome
                if waiting and not told:
                    crew.hand(channel if alive else crew.start(), waiting.pop())
                elif alive:
                    crew.dismiss(channel)
    finally:
        crew.kill()


def _executor(make_workplace: Callable[[], Worker]) -> Callable[[Job], None]:
    worker = make_workplace()

    def perform(job: Job) -> None:
        run, folders = job
        if not attempt(run, folders, worker):
            raise RuntimeError(read_json(folders.output / "failure.json")["reason"])

    return perform


def execute_all(
    jobs: Sequence[Job],
    make_workplace: Callable[[], Worker],
    workers: int,
    seconds: float = math.inf,
    asked: Callable[[], bool] = lambda: False,
    places: Sequence[Mapping[str, str]] = (),
) -> Iterator[Outcome]:
    """Make runs in ``workers`` processes and yield what became of each as it ends.

    After ``seconds``, or once ``asked``, no further run is begun, and those in progress save their
    state and stop: the same call goes on from there (see ``perform_all``).

    Args:
        jobs: runs with their places, in the order in which they are begun; none may combine
            others.
        make_workplace: called once in each process; a function of a module, to be sent there.
        workers: processes at a time, from 1.
        seconds: when to stop, from now.
        asked: whether to stop; called several times a second.
        places: what each process finds changed in its environment, one a process; none: nothing.
    """
    tasks = [(run.name, (run, folders)) for run, folders in jobs]
    return perform_all(tasks, partial(_executor, make_workplace), workers, seconds, asked, places)
