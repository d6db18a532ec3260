"""What SLURM says of a user's jobs: ``squeue``, and ``sacct`` where there is accounting."""

import os
import subprocess
from collections.abc import Collection
from dataclasses import dataclass

# https://slurm.schedmd.com/squeue.html, "job state codes": what a job does not leave again.
COMPLETED = "COMPLETED"
# PreemptMode=CANCEL; a job that SLURM puts back into the queue is PENDING.
PREEMPTED = "PREEMPTED"
FAILED = frozenset(
    {
        "BOOT_FAIL",
        "CANCELLED",
        "DEADLINE",
        "FAILED",
        "LAUNCH_FAILED",
        "NODE_FAIL",
        "OUT_OF_MEMORY",
        "RECONFIG_FAIL",
        "REVOKED",
        "TIMEOUT",
    }
)
_ENDED = FAILED | {COMPLETED, PREEMPTED}
_SECONDS = 60


class Unanswered(Exception):
    """SLURM did not answer.

    Attributes:
        reason: what its tool said instead.
    """

    def __init__(self, tool: str, reason: str) -> None:
        super().__init__(f"{tool}: {reason}")
        self.reason = reason


@dataclass(frozen=True)
class Job:
    """A job as SLURM knows it.

    Attributes:
        state: its state, in SLURM's words.
        folder: its working directory.
        name: its name.
        comment: its comment.
    """

    state: str
    folder: str
    name: str = ""
    comment: str = ""

    @property
    def ended(self) -> bool:
        """Whether it will not run any more."""
        return self.state in _ENDED

    @property
    def waits(self) -> bool:
        """Whether it has not started yet."""
        return self.state == "PENDING"


def queued(clusters: Collection[str] = ()) -> dict[str, Job]:
    """Return this user's jobs that are in the queue, run or ended lately, by number.

    Args:
        clusters: names of the clusters to ask; none: the one that is the default here.

    Raises:
        Unanswered: squeue failed.
    """
    told = ask(
        "squeue",
        *([f"--clusters={','.join(clusters)}"] if clusters else []),
        f"--user={os.getuid()}",
        "--states=all",
        "--noheader",
        "--format=%i|%T|%j|%k|%Z",
    )
    rows = (line.split("|", 4) for line in told.splitlines() if "|" in line)
    return {
        number: Job(state, folder, name, comment) for number, state, name, comment, folder in rows
    }


def accounted(numbers: Collection[str], clusters: Collection[str] = ()) -> dict[str, Job]:
    """Return what the accounting has of jobs, by number; nothing where there is none.

    Args:
        numbers: the jobs' numbers.
        clusters: names of the clusters to ask; none: the one that is the default here.
    """
    if not numbers:
        return {}
    try:
        told = ask(
            "sacct",
            *([f"--clusters={','.join(clusters)}"] if clusters else []),
            f"--jobs={','.join(numbers)}",
            "--allocations",
            "--noheader",
            "--parsable2",
            "--format=JobIDRaw,State,WorkDir",
        )
    except Unanswered:
        return {}
    rows = (line.split("|", 2) for line in told.splitlines())
    # "CANCELLED by 1000"
    return {number: Job(state.split(" ")[0], folder) for number, state, folder in rows}


def cancel(number: str) -> None:
    """Cancel a job; one that has ended meanwhile is no error.

    Raises:
        Unanswered: SLURM did not answer.
    """
    ask("scancel", number)


def ask(*command: str) -> str:
    """Return what one of SLURM's tools prints.

    Raises:
        Unanswered: it fails, or takes too long.
    """
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Unanswered(command[0], str(error)) from None
    if done.returncode:
        raise Unanswered(command[0], done.stderr.strip() or f"exit status {done.returncode}")
    return done.stdout
