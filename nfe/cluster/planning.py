"""What a suite will cost, before and while it runs: ``nfe-bench plan``.

Times are estimates (``nfe.cluster.estimate``) until runs have finished. From then on a run takes
what the finished runs of its setting took on that device or, where there are none, its estimate
times the median of measured over estimated time of all that are finished there.
"""

import dataclasses
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from nfe.cluster import estimate, memory, packing
from nfe.cluster.estimate import Device
from nfe.cluster.site import Site
from nfe.common.files import read_json
from nfe.suite.expansion import Suite
from nfe.suite.run import Run


@dataclass(frozen=True)
class Cost:
    """What a suite takes on one device.

    Attributes:
        device: the device.
        seconds: of each run that trains, by name; measured where the run is finished.
        finished: how many of these are measured.
        left: seconds of the runs that are not finished.
        chain: seconds of the job that takes longest: no number of devices is faster.
        longest: the first run of that job.
        jobs: how many jobs train, as the workflow puts runs together.
    """

    device: Device
    seconds: Mapping[str, float]
    finished: int
    left: float
    chain: float
    longest: str
    jobs: int

    @property
    def total(self) -> float:
        """Device seconds of the whole suite."""
        return sum(self.seconds.values())

    @property
    def basis(self) -> str:
        """Where the times come from, in words."""
        if self.finished:
            return f"measured: {self.finished} finished runs"
        return self.device.basis


def costs(suite: Suite, results: Path, gpu: str | None, gpus: int, chosen: Site) -> list[Cost]:
    """Return the cost on each named GPU and each device with finished runs, or on one GPU.

    Args:
        suite: the suite.
        results: its results folder, which may not exist.
        gpu: the only device wanted, by its name in gpus.yaml.
        gpus: GPUs that the suite's jobs ask for; without any, none is named.
        chosen: the site's settings, which say which runs share a job.

    Raises:
        InputError: there is no such GPU, or a run's files are damaged.
    """
    measured = finished(suite, results)
    devices = [*estimate.gpus().values()] if gpus else []
    devices += [_other(name, gpus) for name in measured if not any(_is(d, name) for d in devices)]
    if gpu:
        devices = [estimate.gpu(gpu)]
    jobs = _jobs(suite, chosen, gpus)
    return [
        _cost(suite, device, _times(device, measured), jobs)
        for device in devices or [estimate.modest(gpus)]
    ]


def expected(suite: Suite, results: Path, gpus: int, chosen: Site) -> Cost:
    """Return the cost on the device on which most runs were made, or else on a modest one.

    Args:
        suite: the suite.
        results: its results folder, which may not exist.
        gpus: GPUs that the suite's jobs ask for.
        chosen: the site's settings, which say which runs share a job.

    Raises:
        InputError: a run's files are damaged.
    """
    measured = finished(suite, results)
    jobs = _jobs(suite, chosen, gpus)
    if not measured:
        return _cost(suite, estimate.modest(gpus), {}, jobs)
    name = max(measured, key=lambda name: len(measured[name]))
    named = (device for device in estimate.gpus().values() if _is(device, name))
    device = next(named, None) or _other(name, gpus)
    return _cost(suite, device, _times(device, measured), jobs)


def finished(suite: Suite, results: Path) -> dict[str, dict[str, float]]:
    """Return the training seconds of the suite's finished runs, by device and run."""
    found: dict[str, dict[str, float]] = {}
    for run in _trained(suite):
        folder = results / "runs" / run.name
        if (folder / "metrics.json").exists():
            timing = read_json(folder / "timing.json")
            # A run that collapsed before it trained took no time.
            found.setdefault(timing["device"], {})[run.name] = timing["train_seconds"] or 0.0
    return found


def _trained(suite: Suite) -> list[Run]:
    return [run for chunk in suite.chunks() for run in chunk]


def _is(device: Device, name: str) -> bool:
    """Return whether PyTorch's ``name`` is this device."""
    return device.match.casefold() in name.casefold() if device.match else device.name == name


def _other(name: str, gpus: int) -> Device:
    """Return a device that only its finished runs tell about."""
    return dataclasses.replace(estimate.modest(gpus), name=name)


def _times(device: Device, measured: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    return {
        run: seconds
        for name, runs in measured.items()
        if _is(device, name)
        for run, seconds in runs.items()
    }


@dataclass(frozen=True)
class _Job:
    """A job that trains: its runs' names, and over how many devices it divides them."""

    runs: tuple[str, ...]
    devices: int


def _jobs(suite: Suite, chosen: Site, gpus: int) -> list[_Job]:
    return [
        _Job(tuple(run.name for run in pack.runs), packing.devices(pack.runs, chosen, gpus))
        for pack in packing.training(suite, chosen, gpus)
    ]


def _cost(suite: Suite, device: Device, times: Mapping[str, float], jobs: Sequence[_Job]) -> Cost:
    runs = _trained(suite)
    guessed = {run.name: estimate.seconds(run, device) for run in runs}
    settings: dict[str, list[float]] = {}
    for run in runs:
        if run.name in times:
            settings.setdefault(_setting(run), []).append(times[run.name])
    ratios = [seconds / guessed[name] for name, seconds in times.items() if seconds]
    ratio = statistics.median(ratios) if ratios else 1.0

    def expected(run: Run) -> float:
        if run.name in times:
            return times[run.name]
        if _setting(run) in settings:
            return statistics.fmean(settings[_setting(run)])
        return ratio * guessed[run.name]

    seconds = {run.name: expected(run) for run in runs}
    chains = {
        job.runs[0]: estimate.divided((seconds[name] for name in job.runs), job.devices)
        for job in jobs
    }
    longest = max(chains, key=lambda name: chains[name])
    left = sum(value for name, value in seconds.items() if name not in times)
    return Cost(device, seconds, len(times), left, chains[longest], longest, len(jobs))


def _setting(run: Run) -> str:
    """Return what the seeds of one setting share."""
    return dataclasses.replace(run, seed=0).digest


_COLUMNS = "{:14} {:>12} {:>6} {:>10} {:>10} {:>14}  {}"


def lines(suite: Suite, found: Sequence[Cost], gpus: int = 0) -> Iterator[str]:
    """Yield the plan as text, one line each; the last one counts the runs.

    Args:
        suite: the suite.
        found: its costs.
        gpus: GPUs that its jobs ask for; with one, their memory is estimated.
    """
    runs = _trained(suite)
    macs = sum(estimate.training_macs(run) for run in runs)
    disk = estimate.disk_mb([planned.run for planned in suite.runs]) / 1000
    yield f"multiply-adds in training: {macs:.3g} (FLOPs: twice that)"
    yield f"disk: at most {disk:,.1f} GB of weights and results, data sets not counted"
    if gpus:
        yield memory.said(runs)
    precision = runs[0].precision
    yield _COLUMNS.format(
        "device", "peak TFLOP/s", "used", "hours", "left", "longest chain", f"times ({precision})"
    )
    yield from (_row(cost, precision) for cost in found)
    yield from (
        f"{cost.device.name}: {cost.device.source}"
        for cost in found
        if cost.device.source and not cost.finished
    )
    yield f"longest chain: {found[0].longest}"
    if suite.untuned:
        yield f"not tuned, so with the default recipe: {', '.join(suite.untuned)}"
    epochs = sum(run.epochs * run.method_settings().trainings() for run in runs)
    yield (
        f"{len(suite.runs)} runs: {len(runs)} train ({epochs} epochs, in {found[0].jobs} jobs), "
        f"{len(suite.combined())} combine others"
    )


def _row(cost: Cost, precision: str) -> str:
    device = cost.device
    peak, used = device.rated(precision) if device.source else (None, None)
    return _COLUMNS.format(
        device.name,
        f"{peak:g}" if peak else "",
        f"{100 * used:.0f} %" if used and not cost.finished else "",
        *(f"{seconds / 3600:,.1f}" for seconds in (cost.total, cost.left, cost.chain)),
        cost.basis,
    )
