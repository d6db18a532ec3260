"""This user's jobs in SLURM's queue, for people: ``squeue``."""

import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from nfe.cluster.queue import Unanswered, ask
from nfe.common.errors import InputError

_COLUMNS = "%i|%T|%N|%S|%L|%r|%k|%Z"
# What the plugin writes into a job's comment.
_RULE = re.compile(r"rule_(\w+?)(?:_wildcards_.*)?$")


@dataclass(frozen=True)
class Job:
    """A job in the queue.

    Attributes:
        number: its number.
        state: its state, in SLURM's words.
        nodes: where it runs.
        start: when it has started, or is expected to.
        left: wall time until its limit, as SLURM prints it.
        reason: why it waits.
        rule: the workflow's rule that it makes.
    """

    number: str
    state: str
    nodes: str
    start: str
    left: str
    reason: str
    rule: str

    @property
    def waits(self) -> bool:
        """Whether it has not started yet."""
        return self.state == "PENDING"


def queued(folder: Path, clusters: str = "") -> list[Job] | None:
    """Return this user's jobs that were submitted in a folder; None where there is no SLURM.

    Args:
        folder: the working directory of the jobs.
        clusters: where they are, if it is not the default cluster.

    Raises:
        InputError: squeue does not answer.
    """
    if shutil.which("squeue") is None:
        return None
    command = ["squeue", f"--user={os.getuid()}", "--noheader", f"--format={_COLUMNS}"]
    command += [f"--clusters={clusters}"] if clusters else []
    try:
        told = ask(*command)
    except Unanswered as error:
        said = error.reason.splitlines()[0]
        raise InputError(f"squeue does not answer: {said}") from None
    rows = (line.split("|", 7) for line in told.splitlines() if line.count("|") >= 7)
    return [
        Job(number, state, nodes, start, left, reason, _rule(comment))
        for number, state, nodes, start, left, reason, comment, at in rows
        if Path(at).resolve() == folder.resolve()
    ]


def _rule(comment: str) -> str:
    found = _RULE.match(comment)
    return found[1] if found else ""
