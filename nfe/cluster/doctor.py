"""What a machine or a cluster lacks for a suite, found before the first job."""

import getpass
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nfe import data as datasets
from nfe.backbones import check_available
from nfe.cluster import estimate, memory, site
from nfe.common.errors import InputError
from nfe.data import prepared
from nfe.suite.expansion import expand
from nfe.suite.run import Run


@dataclass(frozen=True)
class Finding:
    """The outcome of one check.

    Attributes:
        good: nothing is missing.
        what: what was looked at, in one word.
        said: what was found, and where something is missing, what to do.
    """

    good: bool
    what: str
    said: str


def examine(config: Mapping[str, Any]) -> Iterator[Finding]:
    """Yield what was found out about everything that a suite needs.

    Args:
        config: the suite's configuration.

    Raises:
        InputError: the suite or slurm/site.yaml cannot be used.
    """
    suite = expand(config)
    runs = [run for chunk in suite.chunks() for run in chunk]
    gpus = config.get("gpus", 0)
    hours = sum(estimate.seconds(run, estimate.modest(gpus)) for run in runs) / 3600
    yield Finding(
        True,
        "suite",
        f"{suite.name}: {len(suite.runs)} runs, {len(suite.chunks())} training jobs, at most some "
        f"{hours:,.{0 if hours >= 10 else 1}f} {'GPU' if gpus else 'core'} hours",
    )
    root = Path(config["data_root"]) if "data_root" in config else None
    yield from _data(runs, root)
    yield from _networks(runs)
    yield _disk(runs, Path(config.get("output", ".")))
    if gpus:
        yield from _gpu_memory(runs, site.load())
    if shutil.which("sbatch") is None:
        yield Finding(True, "slurm", "no sbatch on PATH: only --profile slurm needs it")
        return
    yield from _cluster(site.load(), gpus)


def _data(runs: list[Run], root: Path | None) -> Iterator[Finding]:
    for card in dict.fromkeys(datasets.whole(run.card) for run in runs):
        what = f"{card.name} at {card.resolution} pixels"
        folder = prepared.folder(card, root)
        try:
            if card.name == "digits":
                yield Finding(True, "data", f"{what}: comes with a library")
                continue
            prepared.manifest(folder, prepared.identity(card))
            yield Finding(True, "data", f"{what}: {folder}")
        except InputError:
            yield Finding(
                False, "data", f"{what}: not in {folder}: nfe-bench data prepare {card.name}"
            )


def _networks(runs: list[Run]) -> Iterator[Finding]:
    """Say of each network of one's own whether its library and its weights are here."""
    for name, record in {run.architecture: run.network for run in runs if run.network}.items():
        try:
            check_available(name, record)
        except InputError as error:
            yield Finding(False, "network", f"{name}: {error}")
            continue
        told = record.get("library") or record.get("package") or "the suite's own"
        yield Finding(True, "network", f"{name}: {told}")


def _disk(runs: list[Run], root: Path) -> Finding:
    folder = next(p for p in (root.resolve(), *root.resolve().parents) if p.exists())
    needed, free = estimate.disk_mb(runs) / 1000, shutil.disk_usage(folder).free / 1e9
    said = f"{free:,.0f} GB free in {folder}, at most some {needed:,.1f} GB needed"
    return Finding(needed < free, "disk", said)


def _gpu_memory(runs: list[Run], chosen: site.Site) -> Iterator[Finding]:
    """Say whether the site's GPU has the memory that its runs take, where gpus.yaml knows it."""
    model = chosen.gpu_model.casefold()
    device = next((d for d in estimate.gpus().values() if model and d.name in model), None)
    if device is None:
        return
    run, peak = memory.largest(runs)
    need = chosen.workers_per_gpu * (peak / 1000 + estimate.CUDA_GB)
    yield Finding(
        need <= device.memory_gb,
        "memory",
        f"{device.name} has {device.memory_gb:g} GB, at most some {need:,.1f} GB needed by "
        f"{chosen.workers_per_gpu} at a time ({run.name})",
    )


def _ask(*command: str) -> str | None:
    """Return what a command prints; None where it fails."""
    try:
        done = subprocess.run(
            command, capture_output=True, encoding="utf-8", errors="replace", check=True, timeout=30
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def _cluster(chosen: site.Site, gpus: int) -> Iterator[Finding]:
    pinged = _ask("scontrol", "ping")
    if pinged is None or "UP" not in pinged:
        yield Finding(False, "slurm", "the controller does not answer: scontrol ping")
        return
    yield Finding(True, "slurm", pinged.splitlines()[0])
    yield from _partition(chosen, gpus)
    yield _account(chosen)
    if chosen.partition_limits and not Path(chosen.partition_limits).exists():
        yield Finding(False, "site", f"partition_limits: no file {chosen.partition_limits}")


def _partition(chosen: site.Site, gpus: int) -> Iterator[Finding]:
    """Check the partition, that it has nodes up, its time limit and its GPUs."""
    listed = [line.split("|") for line in (_ask("sinfo", "-h", "-o", "%P|%a|%l|%G") or "").split()]
    names = sorted({line[0].rstrip("*") for line in listed})
    wanted = chosen.partition or next((p[0][:-1] for p in listed if p[0].endswith("*")), "")
    found = [line for line in listed if line[0].rstrip("*") == wanted]
    if not found:
        named = repr(chosen.partition) if chosen.partition else "no default one"
        said = f"{named}: set partition in {site.FILE} to one of {', '.join(names)}"
        yield Finding(False, "partition", said)
        return
    up, limit = found[0][1] == "up", found[0][2]
    yield Finding(up, "partition", f"{wanted}: {found[0][1]}, time limit {limit}")
    minutes = _minutes(limit)
    if minutes < chosen.max_minutes:
        said = f"max_minutes is {chosen.max_minutes}, {wanted} allows {minutes}: set it so"
        yield Finding(False, "limit", f"{said} in {site.FILE}")
    if gpus:
        offered = sorted({line[3] for line in found if line[3].startswith("gpu")})
        model = f"gpu:{chosen.gpu_model}:" if chosen.gpu_model else "gpu:"
        good = any(model in kind for kind in offered)
        said = f"{wanted} offers {', '.join(offered) or 'none'}, each job asks for {model}{gpus}"
        yield Finding(good, "gpu", said)


def _minutes(limit: str) -> float:
    """Return the minutes of a limit as sinfo prints it: days-hours:minutes:seconds."""
    if limit in ("infinite", "n/a"):
        return float("inf")
    days, _, clock = limit.rpartition("-")
    parts = [int(part) for part in clock.split(":")]
    hours, minutes, _seconds = [0, 0, 0, *parts][-3:]
    return int(days or 0) * 1440 + hours * 60 + minutes


def _account(chosen: site.Site) -> Finding:
    user = getpass.getuser()
    told = _ask("sacctmgr", "-n", "-P", "list", "associations", f"user={user}", "format=account")
    accounts = sorted(set((told or "").split()))
    if told is None:
        return Finding(True, "account", "no accounting database answers: not checked")
    if not chosen.account:
        return Finding(True, "account", f"the default of {', '.join(accounts) or 'the cluster'}")
    good = chosen.account in accounts
    said = f"{user} may charge {', '.join(accounts) or 'none'}"
    return Finding(good, "account", f"{chosen.account}: {said}")
