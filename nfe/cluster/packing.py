"""Which runs share a job, and what the job is called.

A job's name follows from its runs alone: another configuration, or another packing, never gives a
job in the queue another meaning. What each name stands for is noted beside the plans, so that it
can be told of jobs of before as well.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from nfe.cluster import estimate
from nfe.cluster.site import Site
from nfe.common.errors import InputError
from nfe.common.files import make_directory, read_json, write_json
from nfe.suite.expansion import Suite
from nfe.suite.run import Run

_FOLDER = Path(".snakemake", "plans")
_DIGITS = 10
# Combinations and evaluations take seconds each: at least so many share a job.
_BRIEF = 12


@dataclass(frozen=True)
class Pack:
    """Runs that share a job.

    Attributes:
        kind: what is done with them: ``train``, ``combine`` or ``evaluate``.
        runs: the runs, in the order in which they are begun.
    """

    kind: str
    runs: tuple[Run, ...]

    @property
    def rule(self) -> str:
        """The name of the workflow's rule; of one run, it ends as the run's folder does."""
        if len(self.runs) == 1:
            return f"{self.kind}_{self.runs[0].digest[:_DIGITS]}"
        names = "\n".join(run.name for run in self.runs)
        return f"{self.kind}_{hashlib.sha256(names.encode()).hexdigest()[:_DIGITS]}"

    @property
    def log(self) -> str:
        """The name of the job's log: that of its first run, and how many follow."""
        more = f"_and_{len(self.runs) - 1}_more" if len(self.runs) > 1 else ""
        return f"{self.kind}_{self.runs[0].name}{more}.log"


def training(suite: Suite, chosen: Site, gpus: int) -> list[Pack]:
    """Return the jobs that train.

    Without ``target_minutes`` they are the suite's, ``runs_per_process`` runs each. With it, runs
    are put together, the longest first, as long as each of a job's GPUs has its share done within
    that time; a run that takes longer has a GPU to itself.

    Args:
        suite: the suite.
        chosen: the site's settings.
        gpus: GPUs that the suite asks for.
    """
    if not chosen.target_minutes:
        return [Pack("train", tuple(chunk)) for chunk in suite.chunks()]
    trained = [planned.run for planned in suite.runs if not planned.run.members()]
    lanes = _lanes(trained, 60 * chosen.target_minutes, gpus)
    beside = chosen.gpus_per_job if gpus else 1
    jobs = (lanes[first : first + beside] for first in range(0, len(lanes), beside))
    # Of several lanes the longest runs come first, whoever takes them.
    return [
        Pack("train", tuple(_longest_first(list(chain.from_iterable(job)), gpus))) for job in jobs
    ]


def devices(runs: Sequence[Run], chosen: Site, gpus: int) -> int:
    """Return over how many GPUs a job divides its runs."""
    return min(chosen.gpus_per_job, len(runs)) if gpus else 1


def _longest_first(runs: Sequence[Run], gpus: int) -> list[Run]:
    device = estimate.modest(gpus)
    return sorted(runs, key=lambda run: -estimate.seconds(run, device))


def _lanes(runs: Sequence[Run], most: float, gpus: int) -> list[list[Run]]:
    """Return runs in lists of at most ``most`` seconds each: first fit, the longest first."""
    device = estimate.modest(gpus)
    lanes: list[list[Run]] = []
    taken: list[float] = []
    for run in _longest_first(runs, gpus):
        seconds = estimate.seconds(run, device)
        fits = (number for number, sum_ in enumerate(taken) if sum_ + seconds <= most)
        place = next(fits, None)
        if place is None:
            lanes.append([])
            taken.append(0.0)
            place = -1
        lanes[place].append(run)
        taken[place] += seconds
    return lanes


def brief(suite: Suite, kind: str, runs: Sequence[Run]) -> list[Pack]:
    """Return the jobs of runs of which each takes seconds."""
    size = max(suite.runs_per_process, _BRIEF)
    return [Pack(kind, tuple(runs[n : n + size])) for n in range(0, len(runs), size)]


def note(suite: str, packs: Sequence[Pack], folder: Path = _FOLDER) -> None:
    """Write down which runs each job makes, for ``noted``."""
    told = {pack.rule: [run.name for run in pack.runs] for pack in packs}
    digest = hashlib.sha256("\n".join(told).encode()).hexdigest()[:_DIGITS]
    path = folder / f"{suite}-{digest}.jobs.json"
    if not path.exists():
        make_directory(folder)
        write_json(path, told)


def noted(suite: str, folder: Path = _FOLDER) -> dict[str, list[str]]:
    """Return the names of the runs that jobs make, by rule: those of every packing so far."""
    return {rule: names for told in _read(suite, folder) for rule, names in told.items()}


def _read(suite: str, folder: Path) -> Iterator[dict[str, list[str]]]:
    for path in folder.glob(f"{suite}-*.jobs.json"):
        try:
            yield read_json(path)
        except InputError:
            # Of a snakemake that is just starting elsewhere, or damaged: others may know.
            continue
