"""Where each run of a suite stands: ``nfe-bench status``.

Read from what runs leave behind, so that it is the same on one machine and on a cluster: result
files, the lock that a run holds while it is made, saved states, failure.json; and from squeue.
"""

import datetime
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from nfe.cluster import estimate
from nfe.cluster.jobs import Job
from nfe.common.errors import InputError
from nfe.common.files import holder, read_json
from nfe.data import splits
from nfe.suite.expansion import Suite
from nfe.suite.outputs import RESULT_FILES
from nfe.suite.run import Run


class State(StrEnum):
    """What can be said of a run."""

    FINISHED = "finished"
    RUNNING = "running"
    QUEUED = "queued"
    FAILED = "failed"
    WAITING = "waiting"


@dataclass(frozen=True)
class Saved:
    """What the newest saved state of a run says.

    Attributes:
        epoch: epochs done.
        epochs: epochs in all.
        share: share of all steps done, from 0 to 1.
        seconds: training seconds that they took.
        at: when it was saved.
    """

    epoch: int
    epochs: int
    share: float
    seconds: float
    at: datetime.datetime

    @property
    def left(self) -> float:
        """Training seconds of the steps that are left, at the speed so far."""
        return self.seconds * (1 - self.share) / self.share if self.share else math.nan


@dataclass(frozen=True)
class Standing:
    """Where a run stands.

    Attributes:
        run: the run.
        state: finished, running, queued in SLURM, failed, or waiting for its turn.
        reason: why it failed.
        machine: where it runs.
        since: since when.
        job: the job in which it runs or is queued.
        saved: its newest saved state, where it has one.
    """

    run: Run
    state: State
    reason: str = ""
    machine: str = ""
    since: datetime.datetime | None = None
    job: Job | None = None
    saved: Saved | None = None

    def end(self) -> datetime.datetime | None:
        """Return when its training is expected to end; None where nothing tells."""
        if self.state is not State.RUNNING or self.saved is None or not self.saved.share:
            return None
        return self.saved.at + datetime.timedelta(seconds=self.saved.left)


def survey(
    suite: Suite,
    results: Path,
    jobs: Sequence[Job],
    made_by: Mapping[str, Sequence[str]],
) -> list[Standing]:
    """Return where every run of a suite stands, in the suite's order.

    Args:
        suite: the suite.
        results: its results folder, which may not exist.
        jobs: the checkout's jobs in SLURM's queue.
        made_by: names of the runs that a job makes, by its rule (``packing.noted``).
    """
    queued = _by_run(jobs, made_by)
    numbered = {job.number: job for job in jobs}
    return [
        _standing(planned.run, results / "runs" / planned.run.name, queued, numbered)
        for planned in suite.runs
    ]


def _by_run(jobs: Sequence[Job], made_by: Mapping[str, Sequence[str]]) -> dict[str, Job]:
    """Return the job that is to make each run, by the run's name; of two the one that runs."""
    found: dict[str, Job] = {}
    for job in sorted(jobs, key=lambda job: not job.waits):
        found |= dict.fromkeys(made_by.get(job.rule, ()), job)
    return found


def _standing(
    run: Run, folder: Path, queued: Mapping[str, Job], numbered: Mapping[str, Job]
) -> Standing:
    if not folder.is_dir():
        return _idle(run, None, queued)
    if all((folder / name).exists() for name in RESULT_FILES):
        return Standing(run, State.FINISHED)
    saved = _saved(run, folder / ".state")
    held = holder(folder)
    if held is not None:
        since = datetime.datetime.fromisoformat(held["since"]) if "since" in held else None
        job = numbered.get(held.get("job", "")) or queued.get(run.name)
        return Standing(run, State.RUNNING, "", held.get("machine", ""), since, job, saved)
    failure = folder / "failure.json"
    if run.name not in queued and failure.exists():
        return Standing(run, State.FAILED, _reason(failure), saved=saved)
    return _idle(run, saved, queued)


def _idle(run: Run, saved: Saved | None, queued: Mapping[str, Job]) -> Standing:
    job = queued.get(run.name)
    return Standing(run, State.QUEUED if job else State.WAITING, job=job, saved=saved)


def _reason(failure: Path) -> str:
    try:
        return str(read_json(failure)["reason"])
    except (InputError, LookupError, TypeError) as error:
        # Removed meanwhile, or damaged.
        return f"{failure}: {error}"


def _saved(run: Run, folder: Path) -> Saved | None:
    """Return what the newest readable state says; None where there is none."""
    for path in sorted(folder.glob("step-*.safetensors"), reverse=True):
        try:
            at = datetime.datetime.fromtimestamp(path.stat().st_mtime, datetime.UTC)
            progress = json.loads(_metadata(path)["progress"])
            return _progress(run, progress, at)
        except (OSError, ValueError, LookupError, TypeError):
            # Replaced by a newer one meanwhile, or cut short.
            continue
    return None


def _metadata(path: Path) -> dict[str, str]:
    """Return the metadata of a safetensors file: its header alone is read."""
    with open(path, "rb") as file:
        length = int.from_bytes(file.read(8), "little")
        found: dict[str, str] = json.loads(file.read(length))["__metadata__"]
    return found


def _progress(run: Run, progress: Mapping[str, float], at: datetime.datetime) -> Saved:
    epochs = run.epochs * run.method_settings().trainings()
    epoch = int(progress["epoch"])
    taken = progress["step"] - progress["batch"]
    # Until an epoch has ended, as many steps as the training images without the held-out ones give.
    images = estimate.training_images(run) * (1 - 1 / splits.ONE_IN)
    each = taken / epoch if epoch else max(1, images // run.recipe.batch_size)
    share = min(1.0, progress["step"] / (epochs * each))
    return Saved(epoch, epochs, share, progress["seconds"], at)
