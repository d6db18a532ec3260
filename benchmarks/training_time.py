"""What trainings take by the clock: python benchmarks/training_time.py [--suite tiny-imagenet-20]

The network of a released suite under each setting whose trainings its tables compare, on random
images, in turns in one process. A turn is a few steps at each of several places of the training, so
that all phases of a method count as they last; what is done less often than every few steps (new
connections in sparse training, collected weights) is mostly not seen. A training is its steps, as
many as the suite's, without evaluation and saved state; what combines runs takes the time of all.

Writes benchmarks/training_time_<suite>_<device>.csv, one row for each setting: milliseconds of a
step (processor time of one thread on a CPU, wall time on a GPU) and their ratio to the single
network's in the same turn, medians and quartiles over the turns; beside it a JSON file with
environment, options and how many cores others kept busy, and a figure: accuracy and NLL of every
setting and length against seconds.

--draw only draws, from the table that is there.
"""

import argparse
import csv
import dataclasses
import json
import re
import statistics
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import turns
from tqdm import tqdm

from nfe.cluster import estimate
from nfe.common.files import read_json, write_csv, write_json
from nfe.common.precision import default_device
from nfe.data.splits import ONE_IN
from nfe.engine.environment import device_name, environment
from nfe.engine.load import Others
from nfe.engine.throughput import Meter
from nfe.report import figures
from nfe.report.figures import training_cost
from nfe.report.figures.data import FigureData, read
from nfe.suite.run import Run, from_identity

FOLDER = Path(__file__).parent
# Trainings of a suite's own network whose results are compared.
GROUPS = ("longer", "headline", "rivals", "further", "later", "modes", "long", "long_rivals")
COLUMNS = ("setting", *turns.COLUMNS)
# Shares of a training at which steps are taken.
PLACES = (0.2, 0.45, 0.7, 0.95)
# Steps that are timed there: even, for kinds of steps that take turns.
TIMED = 2
# Steps before these: a GPU records anew.
WARM_UP = {"cpu": 1, "cuda": 8}
SECONDS = "training_seconds"


def setting(run: Run) -> str:
    """Return what decides the time of a run's step, in a name."""
    method = run.method_settings()
    costly = {k: v for k, v in run.settings.items() if k not in method.changes_nothing()}
    return f"{run.method} {json.dumps(costly, sort_keys=True)}"


def steps(run: Run) -> int:
    """Return how many steps a run's training has."""
    images = estimate.training_images(run)
    each = images // run.card.classes
    batches = (images - run.card.classes * (each // ONE_IN)) // run.recipe.batch_size
    return batches * run.epochs * run.method_settings().trainings()


class Contender:
    """A setting's training, to be timed anywhere in it.

    Attributes:
        clock: what times it.
    """

    def __init__(self, run: Run) -> None:
        """Build it and take its first steps."""
        self._meter = Meter(run, run.recipe.batch_size, run.card.resolution)
        self.clock = turns.Clock(self._meter.device.type == "cuda")

    def turn(self) -> float:
        """Return the mean seconds of a step."""
        return statistics.fmean(self._at(share) for share in PLACES)

    def _at(self, share: float) -> float:
        trainer = self._meter.trainer
        trainer.progress.step = int(share * trainer.epochs * trainer.batches.per_epoch)
        for _ in range(WARM_UP[self._meter.device.type]):
            self._meter.step()
        return self.clock.seconds(self._meter.step, TIMED)


def measured(runs: Mapping[str, Run], count: int) -> list[dict[str, Any]]:
    """Let every setting take ``count`` turns; return one row for each."""
    contenders = {name: Contender(run) for name, run in tqdm(runs.items(), desc="built")}
    times: dict[str, list[float]] = {name: [] for name in runs}
    for _ in tqdm(range(count), desc="turns"):
        for name, contender in contenders.items():
            times[name].append(contender.turn())
    single = next(times[name] for name, run in runs.items() if run.method == "single")
    return [
        {"setting": name, **turns.columns(contenders[name].clock, each, single, digits=3)}
        for name, each in times.items()
    ]


def compared(results: Path) -> FigureData:
    """Return the runs of a suite whose trainings are compared: those of one architecture."""
    material = read(results / "runs.csv", GROUPS)
    rows = material.rows
    single = rows[rows["method"] == "single"]["architecture"].mode().iloc[0]
    return material.of(rows[rows["architecture"] == single])


def trained(results: Path, name: str) -> Iterator[Run]:
    """Yield the runs whose trainings a row of the tables takes: itself, or those it combines."""
    run = from_identity(read_json(results / "runs" / name / "config.json"))
    yield from run.members() or [run]


def with_seconds(rows: pd.DataFrame, results: Path, table: Path) -> pd.DataFrame:
    """Return rows of runs.csv with the seconds that their trainings take by the table."""
    with table.open(newline="", encoding="utf-8") as file:
        step = {row["setting"]: float(row["milliseconds"]) / 1000 for row in csv.DictReader(file)}
    taken = [
        sum(step[setting(run)] * steps(run) for run in trained(results, name))
        for name in rows["run"]
    ]
    return rows.assign(**{SECONDS: taken})


def parsed() -> argparse.Namespace:
    """Return the command line's options."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--suite", default="tiny-imagenet-20", help="a released suite")
    parser.add_argument("--turns", type=int, default=5, help="default: 5")
    parser.add_argument("--threads", type=int, default=1, help="on a CPU; default: 1")
    parser.add_argument("--draw", metavar="TABLE", type=Path, help="only draw, from this table")
    return parser.parse_args()


def main() -> None:
    """Measure and draw."""
    options = parsed()
    results = FOLDER.parent / "results" / options.suite
    material = compared(results)
    table = options.draw or measure(material.rows, results, options)
    device = read_json(table.with_suffix(".json"))["environment"]["device_name"]
    timed = material.of(with_seconds(material.rows, results, table))
    label = f"seconds of a training (log)\n{device}"
    figure = figures.drawn(training_cost.against, timed, SECONDS, label)
    figures.write(figure, table.with_suffix(""), ["png", "svg"])


def measure(rows: pd.DataFrame, results: Path, options: argparse.Namespace) -> Path:
    """Time the settings of all rows; return the table that is written."""
    device = default_device()
    found: dict[str, Run] = {}
    for name in rows["run"]:
        for run in trained(results, name):
            # A CPU without bfloat16 would imitate it.
            precision = run.precision if device.type == "cuda" else "float32"
            timed = dataclasses.replace(run, precision=precision, threads=options.threads)
            found.setdefault(setting(run), timed)
    named = re.sub(r"[^a-z0-9]+", "-", device_name(device).lower()).strip("-")
    table = FOLDER / f"training_time_{options.suite}_{named}.csv"
    others = Others()
    write_csv(table, COLUMNS, measured(found, options.turns))
    busy = round(others.cores() or 0.0, 2)
    chosen = {"turns": options.turns, "threads": options.threads, "places": PLACES, "timed": TIMED}
    precisions = sorted({run.precision for run in found.values()})
    write_json(
        table.with_suffix(".json"),
        {
            "options": chosen,
            "precision": precisions,
            "others_cores": busy,
            "environment": environment(device),
        },
    )
    return table


if __name__ == "__main__":
    main()
