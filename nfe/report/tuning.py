"""The outcome of tuning: each method's finalists and its choice, by NLL on held-out images.

Every method is offered the same points. The best few of a first stage are confirmed at full length
with further seeds; the point with the lowest held-out NLL, averaged over seeds, is chosen. The test
columns are not looked at.

A suite without ``tuning`` that lists learning rates and weight decays is a grid: one stage, and its
outcome holds recipes alone.
"""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from nfe.common.errors import InputError
from nfe.common.files import read_json, write_bytes
from nfe.suite.expansion import check_config, expand, read_config
from nfe.suite.run import Run
from nfe.suite.tuning import (
    DEFAULT_OPTIMIZER,
    OPTIMIZER,
    RECIPE,
    Choices,
    Point,
    Space,
    space,
)

CRITERION = "heldout_nll"
# Points of each method that are confirmed.
BEST = 3
ABOUT = ("dataset", "resolution", "architecture", "epochs")


class Trial(NamedTuple):
    """One run of a point.

    Attributes:
        method: its method.
        lr: learning rate.
        weight_decay: weight decay.
        settings: the method's own settings that are searched for.
        seed: the run's seed.
        heldout_nll: what the choice looks at; None or not finite where the run failed.
        optimizer: what it was trained with; its rates say nothing of another one's.
    """

    method: str
    lr: float
    weight_decay: float
    settings: Mapping[str, Any]
    seed: int
    heldout_nll: float | None
    optimizer: str = DEFAULT_OPTIMIZER

    def recipe(self) -> dict[str, Any]:
        """Return what a suite takes up of the recipe; the default optimizer goes without saying."""
        found = {key: getattr(self, key) for key in RECIPE}
        return found if self.optimizer == DEFAULT_OPTIMIZER else found | {OPTIMIZER: self.optimizer}


class Stage(NamedTuple):
    """The runs of a stage of tuning, and what they were made on, in words."""

    trials: list[Trial]
    about: str


def ranked(trials: Iterable[Trial]) -> dict[str, list[tuple[float, Point]]]:
    """Return each method's points with their mean held-out NLL, the lowest first.

    A point counts only where every seed that its method had finished, so that one lucky run of a
    diverging point is never chosen; a method without such a point has an empty list.
    """
    found: dict[str, dict[str, tuple[Point, dict[int, float]]]] = {}
    for trial in trials:
        point = Point(trial.recipe(), dict(trial.settings))
        key = json.dumps(point.record(), sort_keys=True)
        _, values = found.setdefault(trial.method, {}).setdefault(key, (point, {}))
        values[trial.seed] = math.nan if trial.heldout_nll is None else trial.heldout_nll
    return {method: _whole(points) for method, points in found.items()}


def _whole(points: Mapping[str, tuple[Point, Mapping[int, float]]]) -> list[tuple[float, Point]]:
    seeds = {seed for _, values in points.values() for seed in values}
    means = [
        (math.fsum(values.values()) / len(seeds), key, point)
        for key, (point, values) in points.items()
        if values.keys() == seeds
    ]
    finite = [mean for mean in means if math.isfinite(mean[0])]
    # Of equal means the first by its text: the order of the runs decides nothing.
    return [(mean, point) for mean, _, point in sorted(finite, key=lambda one: one[:2])]


def finalists(trials: Iterable[Trial], best: int = BEST) -> dict[str, list[Point]]:
    """Return each method's ``best`` points of the first stage, the lowest held-out NLL first."""
    return {
        method: [point for _, point in points[:best]]
        for method, points in ranked(trials).items()
        if points
    }


def choose(trials: Iterable[Trial]) -> dict[str, Point]:
    """Return each method's point with the lowest mean held-out NLL."""
    return {method: points[0] for method, points in finalists(trials, 1).items()}


def confirm(config: Mapping[str, Any], found: Mapping[str, Sequence[Point]]) -> list[Run]:
    """Return the runs of the second stage: its suite at these finalists.

    Args:
        config: the configuration of the second stage; its own ``finalists`` are not read.
        found: the finalists of each method.

    Raises:
        InputError: the configuration does not fit, or asks for a method without finalists.
    """
    records = {method: [point.record() for point in points] for method, points in found.items()}
    return [planned.run for planned in expand({**config, "finalists": records}).runs]


def notes(trials: Sequence[Trial], chosen: Mapping[str, Point], offered: Space) -> list[str]:
    """Return what a reader of the choice must know, one line each: edges, and who has none."""
    edges = [edge for method in chosen for edge in offered.edges(method, chosen[method])]
    lost = [method for method in ranked(trials) if method not in chosen]
    return [*edges, *(f"{method}: no point finished with every seed" for method in lost)]


def read_space(config: Path) -> Space:
    """Read what the tuning suite of a configuration offers.

    Raises:
        InputError: the file is no suite, or tunes nothing.
    """
    read = read_config(config)
    check_config(read)
    if "tuning" not in read:
        raise InputError(f"{config}: no key tuning: allowed: the suite of the first stage")
    return space(read["tuning"])


def read_runs(folder: Path, offered: Space) -> Stage:
    """Read a stage from its runs' config.json and metrics.json, without any table.

    Args:
        folder: the folder of the runs' folders; what has no config.json did not finish.
        offered: tells which settings are searched for.

    Raises:
        InputError: a file is damaged, there is no run, or they belong to several stages.
    """
    records = [
        (read_json(path), read_json(path.with_name("metrics.json")))
        for path in sorted(folder.glob("*/config.json"))
        if path.with_name("metrics.json").exists()
    ]
    trials = [
        Trial(
            config["method"],
            config["recipe"]["lr"],
            config["recipe"]["weight_decay"],
            {key: config["settings"][key] for key in offered.own(config["method"])},
            config["seed"],
            metrics.get(CRITERION),
            config["recipe"].get(OPTIMIZER, DEFAULT_OPTIMIZER),
        )
        for config, metrics in records
    ]
    return Stage(trials, _about(str(folder), [config for config, _ in records]))


def read_table(runs: Path, offered: Space | None) -> Stage:
    """Read a stage from a suite's runs.csv.

    Args:
        runs: the table.
        offered: tells which settings are searched for; None: of a grid, none.

    Raises:
        InputError: the file is no such table, or no run finished.
    """
    from nfe.report.reading import read

    columns = (*ABOUT, "method", "seed", "status", *RECIPE, "recipe", CRITERION)
    needed = columns if offered is None else (*columns, "settings")
    rows = read(runs, needed).to_dict("records")
    if all(row["status"] != "ok" for row in rows):
        raise InputError(f"{runs}: no run finished")
    if offered is None:
        _check_grid(runs, rows)
    trials = [_trial(row, offered) for row in rows]
    return Stage(trials, _about(str(runs), rows))


def _trial(row: Mapping[str, Any], offered: Space | None) -> Trial:
    method = str(row["method"])
    own = offered.own(method) if offered else {}
    settings = json.loads(row["settings"]) if own else {}
    return Trial(
        method,
        float(row["lr"]),
        float(row["weight_decay"]),
        {key: settings[key] for key in own},
        int(row["seed"]),
        float(row[CRITERION]) if row["status"] == "ok" else None,
        json.loads(row["recipe"]).get(OPTIMIZER, DEFAULT_OPTIMIZER),
    )


def _check_grid(runs: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Refuse a table whose settings were searched for, or they would be lost."""
    found: dict[str, set[str]] = {}
    for row in rows:
        found.setdefault(str(row["method"]), set()).add(str(row.get("settings", "")))
    for method, settings in found.items():
        if len(settings) > 1:
            raise InputError(
                f"{runs}: {method} has {len(settings)} different settings: allowed: one, or "
                f"--config, the configuration with their tuning"
            )


def _about(where: str, rows: Sequence[Mapping[str, Any]]) -> str:
    found = list(dict.fromkeys(tuple(row[key] for key in ABOUT) for row in rows))
    if not found:
        raise InputError(f"{where}: no run finished")
    words = [
        f"{data} at {size} pixels, {net}, {epochs} epochs" for data, size, net, epochs in found
    ]
    if len(words) > 1:
        raise InputError(f"{where}: runs of {'; '.join(words)}: allowed: one stage of tuning")
    return words[0]


def _seeds(trials: Iterable[Trial]) -> str:
    count = len({trial.seed for trial in trials})
    return "one seed" if count == 1 else f"mean over {count} seeds"


def _head(what: str, how: str, source: str, about: str) -> str:
    return f"# {what} by held-out NLL ({how}) from {source}:\n# {about}. Made by: nfe-bench tune\n"


def finalists_yaml(stage: Stage, source: str, best: int = BEST) -> bytes:
    """Return the file that a suite's ``finalists`` names.

    Args:
        stage: the runs of the first stage.
        source: where they are from, for the head of the file.
        best: how many points of each method.
    """
    found = finalists(stage.trials, best)
    what = f"The {best} best points of each method, best first,"
    records = {method: [point.record() for point in points] for method, points in found.items()}
    head = _head(what, _seeds(stage.trials), source, stage.about)
    return (head + yaml.safe_dump(records)).encode()


def tuned_yaml(stage: Stage, offered: Space, source: str) -> bytes:
    """Return the file that a suite's ``tuned`` names; its head tells the ``notes``.

    Args:
        stage: the runs that the choice is made from.
        offered: what was searched.
        source: where they are from, for the head of the file.
    """
    chosen = choose(stage.trials)
    head = _head("Chosen", _seeds(stage.trials), source, stage.about)
    head += "".join(f"# {note}\n" for note in notes(stage.trials, chosen, offered))
    records = {method: point.record() for method, point in chosen.items()}
    return (head + yaml.safe_dump(records)).encode()


def write_finalists(runs: Path, config: Path, output: Path) -> list[str]:
    """Write the finalists of a first stage's runs.csv, and return which methods have too few.

    Raises:
        InputError: a file is missing or damaged, or no run finished.
    """
    stage = read_table(runs, read_space(config))
    write_bytes(output, finalists_yaml(stage, runs.as_posix()))
    points = {method: len(found) for method, found in ranked(stage.trials).items()}
    return [f"{m}: {n} points finished of {BEST} wanted" for m, n in points.items() if n < BEST]


def write(runs: Path, output: Path, config: Path | None = None) -> list[str]:
    """Write the choice that the last stage's runs.csv leads to, and return the ``notes``.

    Args:
        runs: the table.
        output: the file to write.
        config: the configuration of the tuning suite; None for a grid.

    Raises:
        InputError: a file is missing or damaged, or no run finished.
    """
    if config is None:
        return _write_grid(runs, output)
    offered = read_space(config)
    stage = read_table(runs, offered)
    write_bytes(output, tuned_yaml(stage, offered, runs.as_posix()))
    return notes(stage.trials, choose(stage.trials), offered)


def _write_grid(runs: Path, output: Path) -> list[str]:
    """Write a grid's choice, recipes alone, as the files that released suites name."""
    stage = read_table(runs, None)
    chosen = choose(stage.trials)
    head = _head("Chosen", "mean over seeds", runs.as_posix(), stage.about)
    recipes = {method: dict(point.recipe) for method, point in chosen.items()}
    write_bytes(output, (head + yaml.safe_dump(recipes)).encode())
    values = {key: sorted({getattr(trial, key) for trial in stage.trials}) for key in RECIPE}
    axes = {key: Choices(listed) for key, listed in values.items()}
    return notes(stage.trials, chosen, Space(len(stage.trials), axes, {}))
