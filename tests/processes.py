"""Many short-lived runs in processes of their own, without importing PyTorch for each."""

import multiprocessing
import os
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(
    [
        "nfe.cli.main",
        "nfe.engine.runner",
        "nfe.network_fission",
    ]
)
PATIENCE = 120


def _command(arguments: tuple[str, ...], said: str) -> None:
    descriptor = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    from nfe.cli.main import main

    raise SystemExit(main(arguments))


class Life:
    """One process of nfe-bench, to be killed or waited for."""

    def __init__(self, said: Path, *arguments: str) -> None:
        os.environ["OMP_NUM_THREADS"] = "1"  # inherited by the fork server
        self._said = said
        said.write_text("")
        self.started = time.monotonic()
        self._process = _CONTEXT.Process(target=_command, args=(arguments, str(said)))
        self._process.start()

    def wait_for(self, happened: Callable[[], bool], seconds: float = PATIENCE) -> bool:
        """Wait until something happens, the process ends or time is up; return whether it did."""
        deadline = time.monotonic() + seconds
        while self._process.is_alive() and time.monotonic() < deadline:
            if happened():
                return True
            time.sleep(0.0005)
        return False

    def stop(self, number: int = signal.SIGKILL) -> None:
        """Send a signal, unless the process has ended by itself."""
        if self._process.is_alive():
            os.kill(self._process.pid, number)

    def end(self) -> int:
        """Wait for the end and return the exit status, negative for a signal."""
        self._process.join(PATIENCE)
        assert self._process.exitcode is not None, self.said
        return self._process.exitcode

    @property
    def said(self) -> str:
        """What it wrote to both streams."""
        return self._said.read_text()


def states(output: Path) -> list[Path]:
    """Return a run's saved states, oldest first."""
    return sorted((output / ".state").glob("step-*"))


def unfinished(output: Path) -> list[Path]:
    """Return the files that a run was writing when it was killed."""
    return list(output.rglob(".*.tmp"))


def resumed_step(said: str) -> int:
    """Return the step that a run said it resumed from, 0 where it did not resume."""
    _, found, rest = said.partition("resumed from epoch ")
    return int(rest.split()[2]) if found else 0


def newest_step(output: Path) -> int:
    """Return the step of a run's newest saved state, 0 where there is none."""
    return max((int(path.name.split("-")[1]) for path in states(output)), default=0)


def kill(
    life: Life, output: Path, draws: random.Random, within: float, steps: int, saving: bool
) -> None:
    """Kill a run at a random moment.

    Args:
        life: the process.
        output: its run's folder.
        draws: gives the moment.
        within: seconds after the start in which the moment lies.
        steps: steps after which it is killed even if the moment has not come, so that the
            run is not over too soon.
        saving: wait further for a moment at which a state is being written.
    """
    moment = life.started + draws.uniform(0, within)
    enough = newest_step(output) + steps
    life.wait_for(lambda: time.monotonic() >= moment or newest_step(output) >= enough)
    if saving:
        life.wait_for(lambda: bool(unfinished(output)))
    life.stop()
    assert life.end() == -signal.SIGKILL, life.said
