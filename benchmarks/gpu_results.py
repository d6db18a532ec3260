"""A suite's runs on one GPU without Snakemake and DVC, within a time limit.

On a machine with the data set, take along the images that some suites use:

  python benchmarks/gpu_results.py pack --output images.npz CONFIG …

On the machine with the GPU (PyTorch and this checkout; see docs/performance.md):

  python benchmarks/gpu_results.py train --bundle images.npz --root FOLDER --seconds 420 CONFIG …
  python benchmarks/gpu_results.py latency --bundle images.npz --root FOLDER CONFIG

The suites are made one after the other, several runs at once in processes that share the GPU,
first seeds first, so that what a time limit cuts off leaves complete seeds; the same command goes
on from there. After a tuning suite its finalists are chosen, after the finalists the recipes, as
``nfe-bench tune`` does, so that a suite that is tuned by them can follow in the same call.
FOLDER/results and FOLDER/artifacts are those that ``snakemake`` would have made; copied into a
checkout, tables, figures and page follow from them.
"""

import argparse
import contextlib
import logging
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from itertools import zip_longest
from pathlib import Path
from typing import Any

import torch

from nfe import data as datasets
from nfe.common.errors import InputError
from nfe.common.files import write_bytes
from nfe.data import bundle
from nfe.engine import latency, robustness
from nfe.engine.pool import execute_all, shared_gpu
from nfe.engine.runner import RunFolders, Worker, execute
from nfe.report import tuning
from nfe.suite.expansion import Suite, expand, read_config, timed
from nfe.suite.run import Run
from nfe.suite.tuning import KINDS, Space, space

_log = logging.getLogger("gpu_results")


def pack(configs: Sequence[Path], data_root: Path | None, output: Path) -> None:
    """Write the images that the suites use, and no others, as one file."""
    suites = [expand(_without_outcomes(path)) for path in configs]
    cards = {planned.run.card for suite in suites for planned in suite.runs}
    ordered = sorted(cards, key=str)
    bundle.write(output, [datasets.load(card, data_root) for card in ordered])
    print(f"{output}: {output.stat().st_size / 2**20:.1f} MB, {len(ordered)} data sets or subsets")


def _without_outcomes(path: Path) -> dict[str, Any]:
    """Return a configuration without what a tuning says: it decides nothing about the images."""
    return {key: value for key, value in read_config(path).items() if key not in KINDS}


def ordered(suite: Suite) -> list[Run]:
    """Return the runs that train: group by group, in each the first seeds of all settings first."""
    runs = [planned for planned in suite.runs if not planned.run.members()]
    tiers = list(dict.fromkeys(planned.groups[0] for planned in suite.runs))
    # Members of ensembles that stand in no group of their own belong to the first.
    tiers.sort(key=lambda name: name == "members")
    folders = {name: number for number, name in enumerate(tiers)}
    folders["members"] = 0
    return [
        planned.run for planned in sorted(runs, key=lambda p: (folders[p.groups[0]], p.run.seed))
    ]


def make(
    suite: Suite, root: Path, make_workplace: Callable[[], Worker], workers: int, until: float
) -> int:
    """Make a suite's runs and return how many are missing; those that diverge are made, too."""
    jobs = [(run, RunFolders.under(root, suite.name, run)) for run in ordered(suite)]
    waiting = [(run, folders) for run, folders in jobs if not _finished(folders)]
    started, ended = time.monotonic(), Counter[str]()
    _log.info("%s: %d of %d runs to make", suite.name, len(waiting), len(jobs))
    begun = waiting if until > started else []
    for outcome in execute_all(begun, make_workplace, workers, until - started):
        ended[outcome.status] += 1
        _log.info(
            "%.0f s, %d of %d: %s: %s in %.1f s %s",
            time.monotonic() - started,
            ended.total(),
            len(waiting),
            outcome.name,
            outcome.status,
            outcome.seconds,
            outcome.reason,
        )
    _log.info("%s: %s in %.0f s", suite.name, dict(ended), time.monotonic() - started)
    return len(waiting) - ended["done"] - ended["failed"]


def evaluate(config: dict[str, Any], suite: Suite, root: Path, here: Worker) -> None:
    """Make the evaluation of clean predictions that the suite asks for, of finished runs."""
    groups = set(config.get("evaluate", {"groups": []}).get("groups", config["groups"]))
    for planned in suite.runs:
        folders = RunFolders.under(root, suite.name, planned.run)
        if groups & set(planned.groups) and _finished(folders):
            robustness.evaluate(planned.run, folders, here)


def measure(arguments: argparse.Namespace) -> int:
    """Measure the latencies that the suites ask for; nothing else may run on the device."""
    here = Worker(torch.device(arguments.device), bundle=arguments.bundle)
    for path in arguments.configs:
        config = read_config(path)
        suite = expand(config)
        folder = arguments.root / "results" / suite.name / "latency"
        latency.measure(timed(config, suite.runs), folder, here)
    return 0


def _finished(folders: RunFolders) -> bool:
    return (folders.output / "metrics.json").exists()


def combine(suite: Suite, root: Path, here: Worker) -> int:
    """Make the runs that combine finished ones; return how many lack a member."""
    missing = 0
    for run in suite.combined():
        folders = RunFolders.under(root, suite.name, run)
        if all(_predicted(folders.member(member)) for member in run.members()):
            execute(run, folders, here)
        else:
            missing += 1
    return missing


def _predicted(folders: RunFolders) -> bool:
    return _finished(folders) and (folders.artifacts / "predictions.npz").exists()


def choose(made: Path, following: Path, root: Path, offered: Space | None) -> None:
    """Write what the next suite needs to know of one that is finished.

    Args:
        made: the finished suite's configuration.
        following: the next one's; what it names as ``finalists`` or ``tuned`` is written.
        root: folder of results/.
        offered: what was searched; None where nothing is tuned.
    """
    config, wanted = read_config(made), read_config(following)
    if offered is None:
        return
    source = Path("results", config["suite"], "runs")
    stage = tuning.read_runs(root / source, offered)
    if "tuning" in config and "finalists" in wanted:
        write_bytes(Path(wanted["finalists"]), tuning.finalists_yaml(stage, source.as_posix()))
    if "finalists" in config and "tuned" in wanted:
        target = Path(wanted["tuned"])
        write_bytes(target, tuning.tuned_yaml(stage, offered, source.as_posix()))
        print(target.read_text(encoding="utf-8"), end="", flush=True)


def train(arguments: argparse.Namespace) -> int:
    """Make the suites in order; return the number of runs that are missing.

    A suite of which runs are missing ends it where the next one would be chosen from them.
    """
    missing, until = 0, time.monotonic() + arguments.seconds
    make_workplace = partial(
        Worker,
        device=torch.device(arguments.device),
        bundle=arguments.bundle,
        checkpoint_seconds=60.0,
        at_once=arguments.workers,
    )
    on_gpu = arguments.device.startswith("cuda")
    offered: Space | None = None
    with shared_gpu() if on_gpu else contextlib.nullcontext(False) as daemon:
        _log.info("%d runs at once, %s", arguments.workers, "with MPS" if daemon else "no MPS")
        for path, following in zip_longest(arguments.configs, arguments.configs[1:]):
            config = read_config(path)
            offered = space(config["tuning"]) if "tuning" in config else offered
            suite = expand(config)
            missing += make(suite, arguments.root, make_workplace, arguments.workers, until)
            # Of stored predictions, which needs no GPU; nor must this process hold the daemon.
            here = Worker(torch.device("cpu"), bundle=arguments.bundle)
            missing += combine(suite, arguments.root, here)
            evaluate(config, suite, arguments.root, here)
            if following is None:
                break
            if missing and any(kind in read_config(following) for kind in KINDS):
                _log.warning("%s: not begun: %d runs before it are missing", following, missing)
                break
            choose(path, following, arguments.root, offered)
    return missing


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    commands = parser.add_subparsers(required=True, dest="command")
    packing = commands.add_parser("pack", help="write the images that suites use as one file")
    packing.add_argument("--output", type=Path, required=True)
    packing.add_argument("--data-root", type=Path, help="folder of prepared data")
    training = commands.add_parser("train", help="make the suites' runs")
    timing = commands.add_parser("latency", help="measure the suites' networks, alone")
    for command in (training, timing):
        command.add_argument("--bundle", type=Path, help="from pack (default: prepared data)")
        command.add_argument("--root", type=Path, required=True, help="folder of results/")
        command.add_argument("--device", default="cuda")
    training.add_argument("--workers", type=int, default=8, help="runs at once")
    training.add_argument("--seconds", type=float, default=float("inf"), help="stop by then")
    for command in (packing, training, timing):
        command.add_argument("configs", type=Path, nargs="+", metavar="CONFIG")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    try:
        if arguments.command == "pack":
            pack(arguments.configs, arguments.data_root, arguments.output)
        else:
            made = {"train": train, "latency": measure}[arguments.command](arguments)
            sys.exit(1 if made else 0)
    except InputError as error:
        sys.exit(f"gpu_results.py: error: {error}")


if __name__ == "__main__":
    main()
