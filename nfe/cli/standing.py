"""nfe-bench status: where each run of a suite stands."""

import argparse
import datetime
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nfe.common.errors import InputError

if TYPE_CHECKING:
    from nfe.cluster.standing import Standing
    from nfe.suite.expansion import Suite

# Moves to the upper left corner of a terminal and clears what is below.
_CLEAR = "\x1b[H\x1b[2J"


def status(arguments: argparse.Namespace) -> int:
    """Tell where each run of a suite stands: finished, running, queued, failed."""
    from nfe.suite.expansion import expand, read_config

    if arguments.watch is not None and arguments.watch < 1:
        raise InputError(f"watch is {arguments.watch}: allowed: seconds from 1")
    config = read_config(arguments.config)
    suite = expand(config)
    root = Path(arguments.root or config.get("output", "."))
    while _show(suite, root, config.get("gpus", 0), arguments.watch) and arguments.watch:
        time.sleep(arguments.watch)
    return 0


def _show(suite: "Suite", root: Path, gpus: int, again: int | None) -> bool:
    """Print where runs stand; return whether some are neither finished nor failed."""
    from nfe.cluster import jobs, packing, site
    from nfe.cluster.standing import State, survey

    note = ""
    try:
        # Jobs are submitted where the workflow is started.
        queued = jobs.queued(Path(), site.load().clusters)
    except InputError as error:
        queued, note = [], f"{error}: which runs are queued is not known"
    results = root / "results" / suite.name
    found = survey(suite, results, queued or [], packing.noted(suite.name) if queued else {})
    if again and sys.stdout.isatty():
        print(_CLEAR, end="")
    print("\n".join([*_lines(suite, found, results, gpus), *([note] if note else [])]), flush=True)
    return any(one.state not in (State.FINISHED, State.FAILED) for one in found)


def _lines(suite: "Suite", found: Sequence["Standing"], results: Path, gpus: int) -> Iterator[str]:
    from nfe.cluster.standing import State

    counts = Counter(one.state for one in found)
    parts = [f"{counts[State.FINISHED]} of {len(found)} runs finished"]
    parts += [f"{counts[s]} {s}" for s in State if s is not State.FINISHED and counts[s]]
    yield f"{suite.name}: {', '.join(parts)}"
    if counts[State.FINISHED] + counts[State.FAILED] < len(found):
        yield _left(suite, found, results, gpus)
    for one in found:
        if one.state is State.RUNNING:
            yield f"running  {one.run.name}: {_running(one)}"
    for one in found:
        if one.state is State.FAILED:
            yield f"failed   {one.run.name}: {one.reason}"
    yield from _queued(found)
    stopped = [o for o in found if o.state is State.WAITING and o.saved]
    yield from (f"waiting  {one.run.name}: goes on at {_epoch(one)}" for one in stopped)


def _left(suite: "Suite", found: Sequence["Standing"], results: Path, gpus: int) -> str:
    """Return how long all that is left takes, as many at a time as there are now."""
    from nfe.cluster import planning, site
    from nfe.cluster.standing import State

    cost = planning.expected(suite, results, gpus, site.load())
    seconds = 0.0
    for one in found:
        if one.state not in (State.FINISHED, State.FAILED):
            share = one.saved.share if one.saved else 0.0
            seconds += cost.seconds.get(one.run.name, 0.0) * (1 - share)
    running = sum(one.state is State.RUNNING for one in found)
    beside = f", {_length(seconds / running)} with {running} at a time" if running > 1 else ""
    return f"left: some {_length(seconds)} of training{beside} ({cost.basis})"


def _running(one: "Standing") -> str:
    parts = [f"on {one.machine}" if one.machine else ""]
    if one.job:
        left = f", {one.job.left} left of its wall time" if not one.job.waits else ""
        parts[0] += f" (job {one.job.number}{left})"
    if one.since:
        parts.append(f"since {_clock(one.since)}")
    if not one.run.members():
        parts.append(_epoch(one))
    if end := one.end():
        parts.append(f"ETA {_clock(end)}")
    return ", ".join(part for part in parts if part)


def _epoch(one: "Standing") -> str:
    if one.saved is None:
        return "no state saved yet"
    epoch = min(one.saved.epoch + 1, one.saved.epochs)
    return f"epoch {epoch}/{one.saved.epochs} (state of {_clock(one.saved.at)})"


def _queued(found: Sequence["Standing"]) -> Iterator[str]:
    """Yield a line for each job with runs that are queued in it."""
    from nfe.cluster.standing import State

    runs: dict[str, list[Any]] = {}
    for one in found:
        if one.state is State.QUEUED and one.job:
            runs.setdefault(one.job.number, []).append(one)
    for number, some in runs.items():
        job = some[0].job
        started = f", expected to start {job.start}" if job.start not in ("", "N/A") else ""
        why = f"{job.reason}{started}" if job.waits else f"running on {job.nodes}"
        more = f" and {len(some) - 1} more" if len(some) > 1 else ""
        yield f"queued   {some[0].run.name}{more}: job {number}, {why}"


def _clock(moment: datetime.datetime) -> str:
    return moment.astimezone().strftime("%Y-%m-%d %H:%M")


def _length(seconds: float) -> str:
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours:,} h {minutes:02d} min" if hours else f"{minutes} min"
