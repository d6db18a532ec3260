"""What a machine or a cluster lacks for a suite, found before the first job."""

import re
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from nfe import data as datasets
from nfe.backbones import check_available
from nfe.cluster import container, estimate, memory, packing, site, site_checks, storage
from nfe.cluster.finding import Finding
from nfe.common.errors import InputError
from nfe.data import outliers, prepared
from nfe.data.base import Card
from nfe.suite.expansion import expand
from nfe.suite.run import Run


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
    chosen = site.load()
    jobs = packing.training(suite, chosen, gpus)
    hours = sum(estimate.seconds(run, estimate.modest(gpus)) for run in runs) / 3600
    yield Finding(
        True,
        "suite",
        f"{suite.name}: {len(suite.runs)} runs, {len(jobs)} training jobs, at most some "
        f"{hours:,.{0 if hours >= 10 else 1}f} {'GPU' if gpus else 'core'} hours",
    )
    root = Path(config["data_root"]) if "data_root" in config else None
    yield from _data(runs, config.get("evaluate", {}), root)
    yield from _networks(runs)
    everything = [planned.run for planned in suite.runs]
    yield from storage.findings(everything, Path(config.get("output", ".")))
    if gpus:
        yield from _gpu_memory(runs, chosen)
    if shutil.which("sbatch") is None:
        yield Finding(True, "slurm", "no sbatch on PATH: only --profile slurm needs it")
        return
    # The largest job's: it is the one that a node may not have room for.
    asked = max([gpus, *(packing.devices(job.runs, chosen, gpus) for job in jobs)]) if gpus else 0
    yield from site_checks.findings(chosen, asked, container.folders(config))


def _data(runs: list[Run], evaluate: Mapping[str, Any], root: Path | None) -> Iterator[Finding]:
    for card in dict.fromkeys(datasets.whole(run.card) for run in runs):
        yield _prepared(card, root, prepared.folder(card, root), prepared.identity(card))
    wanted = [name for name in evaluate.get("ood", []) if name in datasets.names()]
    for name in wanted:
        # Where it fits none of the suite's data, it is not evaluated.
        if any(outliers.fits(run.card, name) for run in runs):
            card = datasets.card(name)
            yield _prepared(card, root, prepared.folder(card, root), prepared.identity(card))
    if evaluate.get("corruptions"):
        from nfe.data import corruptions

        for card in dict.fromkeys(datasets.whole(run.card) for run in runs):
            folder, identity = corruptions.folder(card, root), corruptions.identity(card)
            yield _prepared(card, root, folder, identity, prepared.CORRUPTED)


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


def _prepared(
    card: Card, root: Path | None, folder: Path, identity: dict[str, Any], kind: str = ""
) -> Finding:
    what = f"{card.name}{kind} at {card.resolution} pixels"
    if card.name == "digits" and not kind:
        return Finding(True, "data", f"{what}: comes with a library")
    try:
        prepared.manifest(folder, identity)
    except InputError:
        more = f" --root {root}" if root else ""
        said = f"{what}: not in {folder}: nfe-bench data prepare {card.name}{kind}{more}"
        return Finding(False, "data", said)
    return Finding(True, "data", f"{what}: {folder}")


def _gpu_memory(runs: list[Run], chosen: site.Site) -> Iterator[Finding]:
    """Say whether the site's GPU has the memory that its runs take, where gpus.yaml knows it."""
    # Sites write nvidia_a100-sxm4-80gb, geforce_rtx_4090, NVIDIA-H100.
    model = re.sub("[^a-z0-9]", "", chosen.gpu_model.casefold())
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
