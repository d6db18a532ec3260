"""Differences between the settings of a suite, from runs.csv and the per-image files alone."""

from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from nfe.common.errors import InputError, unknown
from nfe.common.files import read_json, read_npz
from nfe.data import OFFICIAL
from nfe.evaluation.metrics import BINS, bin_index
from nfe.report.schema import PANEL, text
from nfe.report.statistics import (
    Array,
    Contrast,
    Sample,
    compare,
    holm,
    image_weights,
    mcnemar,
    summarize,
)

Row = dict[str, str]
Settings = Mapping[str, Sequence[Row]]

METRICS = ("accuracy", "nll", "ece", "brier")
BASELINES = ("single", "deep_ensemble")
# The same test images.
_IMAGES = ("dataset", "resolution", "subset")
COLUMNS = (
    *PANEL,
    "setting",
    "baseline",
    "metric",
    "difference",
    "ci95_low",
    "ci95_high",
    "p_value",
    "p_holm",
    "family",
    "covers",
    "paired",
    "seeds",
    "failed",
    "collapsed",
    "baseline_seeds",
    "baseline_failed",
    "baseline_collapsed",
)


def rows(settings: Settings, pairs: Iterable[tuple[str, str]], runs: Path) -> list[dict[str, Any]]:
    """Return one record per pair and metric.

    Args:
        settings: the rows of runs.csv of each setting, by its label.
        pairs: labels of a setting and of what it is compared with.
        runs: folder of the runs' folders.

    Returns:
        Records of ``COLUMNS``; what a comparison without finished seeds lacks is None. Holm's
        correction is over a family: one metric, one baseline.

    Raises:
        InputError: the two were not tested on the same images, or a file is not usable.
    """
    found = uncorrected(settings, pairs, Resampler(runs))
    correct_by_baseline(found)
    return found


def uncorrected(
    settings: Settings, pairs: Iterable[tuple[str, str]], resampler: "Resampler"
) -> list[dict[str, Any]]:
    """Return what ``rows`` does, without correction: ``p_holm`` and ``family`` are None."""
    return [_record(settings, pair, metric, resampler) for pair in pairs for metric in METRICS]


def correct_by_baseline(records: Iterable[dict[str, Any]]) -> None:
    """Fill in Holm's correction, a family for each baseline and metric."""
    families: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for record in records:
        families.setdefault((record["baseline"], record["metric"]), []).append(record)
    for family in families.values():
        correct(family)


def correct(family: Sequence[dict[str, Any]]) -> None:
    """Fill in Holm's correction over some records, and how many tests it is over."""
    adjusted = holm([record["p_value"] for record in family])
    for record, p in zip(family, adjusted, strict=True):
        record["p_holm"] = p
        record["family"] = sum(q is not None for q in adjusted)


def cells(records: Iterable[Mapping[str, Any]]) -> list[Row]:
    """Return the records as cells of comparisons.csv."""
    table = []
    for record in records:
        row = {column: text(column, record[column]) for column in COLUMNS}
        for column in ("difference", "ci95_low", "ci95_high"):
            row[column] = text(record["metric"], record[column])
        table.append(row)
    return table


def _record(
    settings: Settings, pair: tuple[str, str], metric: str, resampler: "Resampler"
) -> dict[str, Any]:
    sides = [settings[label] for label in pair]
    good = [_finished(side) for side in sides]
    _check_images(pair, sides)
    record: dict[str, Any] = dict.fromkeys(COLUMNS)
    record |= {column: sides[0][0][column] for column in PANEL}
    record |= {"setting": pair[0], "baseline": pair[1], "metric": metric}
    for prefix, side, runs in zip(("", "baseline_"), sides, good, strict=True):
        record[f"{prefix}seeds"] = len(runs)
        for status in ("failed", "collapsed"):
            record[f"{prefix}{status}"] = sum(row["status"] == status for row in side)
    found = contrast(settings, pair, metric, resampler)
    if found is None:
        return record
    return record | {"paired": str(_paired(good)).lower()} | _numbers(found)


def contrast(
    settings: Settings, pair: tuple[str, str], metric: str, resampler: "Resampler"
) -> Contrast | None:
    """Return the contrast of a setting and its baseline; None without finished seeds of both."""
    good = [_finished(settings[label]) for label in pair]
    if not all(good):
        return None
    sample, baseline = (resampler.sample(runs, metric) for runs in good)
    return compare(sample, baseline, _paired(good))


def _finished(rows: Sequence[Row]) -> list[Row]:
    return [row for row in rows if row["status"] == "ok"]


def _paired(sides: Sequence[Sequence[Row]]) -> bool:
    first, second = ([row["seed"] for row in side] for side in sides)
    return first == second


def _numbers(contrast: Contrast) -> dict[str, Any]:
    difference = float(contrast.difference)
    numbers: dict[str, Any] = {"difference": difference, "covers": contrast.covers or "nothing"}
    if contrast.covers:
        half = float(contrast.half_width())
        numbers |= {"ci95_low": difference - half, "ci95_high": difference + half}
    if contrast.seeds:
        numbers["p_value"] = contrast.p_value()
    return numbers


def _check_images(pair: tuple[str, str], sides: Sequence[Sequence[Row]]) -> None:
    first, second = ([side[0][column] for column in _IMAGES] for side in sides)
    if first != second:
        raise InputError(
            f"{pair[0]!r} and {pair[1]!r} were tested on other images: "
            f"{' '.join(first)} and {' '.join(second)}"
        )


class Resampler:
    """Metrics of runs on resampled test images; each run's file is read once."""

    def __init__(self, runs: Path) -> None:
        self.runs = runs
        self.weights = cache(image_weights)
        self.run = cache(self._run)

    def sample(self, rows: Sequence[Row], metric: str) -> Sample:
        """Return a metric of the runs of some rows."""
        values = np.array([float(row[metric]) for row in rows])
        if metric == "brier":
            # The per-image files do not hold its parts.
            return Sample(values, None)
        return Sample(values, np.stack([self.run(row["run"])[metric] for row in rows]))

    def _run(self, name: str) -> dict[str, Array]:
        images = read_npz(self.runs / name / "per_image.npz")
        correct, confidence = images["correct"], images["confidence"].astype(np.float64)
        bins = np.zeros((len(correct), BINS))
        bins[np.arange(len(correct)), bin_index(confidence)] = correct - confidence
        weights = self.weights(len(correct))
        return {
            "accuracy": 100 * (weights @ correct.astype(np.float64)),
            "nll": weights @ images["nll"].astype(np.float64),
            "ece": np.abs(weights @ bins).sum(axis=1),
        }


def suite_pairs(settings: Settings, wanted: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """Return the comparisons of a suite: those of its headline, and those that it asks for.

    They are the rows of comparisons.csv, and Holm's families wherever one of them is shown.

    Args:
        settings: the rows of runs.csv of each setting, by its label.
        wanted: ``Suite.comparisons``.
    """
    return list(dict.fromkeys([*headline_pairs(settings), *wanted_pairs(settings, wanted)]))


def headline_pairs(settings: Settings) -> list[tuple[str, str]]:
    """Return each headline setting with each of its panel's baselines."""
    headline = in_group(settings, "headline")
    return [
        (label, baseline)
        for method in BASELINES
        for baseline in headline
        if settings[baseline][0]["method"] == method
        for label in headline
        if label != baseline and _panel(settings, label) == _panel(settings, baseline)
    ]


def wanted_pairs(settings: Settings, runs: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """Return the labels of the settings of pairs of runs; what has no row yet is left out.

    Args:
        settings: the rows of runs.csv of each setting, by its label.
        runs: names of a run of the setting and of one of its baseline.
    """
    labels = {row["run"]: label for label, rows in settings.items() for row in rows}
    return [
        (labels[setting], labels[baseline])
        for setting, baseline in runs
        if setting in labels and baseline in labels
    ]


def in_group(settings: Settings, group: str) -> list[str]:
    """Return the labels of the settings that a group of the suite wants."""
    return [label for label, rows in settings.items() if group in _groups(rows)]


def _groups(rows: Sequence[Row]) -> set[str]:
    return {group for row in rows for group in row["groups"].split("/")}


def _panel(settings: Settings, label: str) -> list[str]:
    return [settings[label][0][column] for column in PANEL]


def pairs_of(
    settings: Settings, names: Sequence[str], others: Sequence[str], group: str
) -> list[tuple[str, str]]:
    """Return the pairs that names stand for: within a panel, unless both are labels.

    Args:
        settings: every setting of the suite.
        names: labels or methods; none for every setting of the group.
        others: labels or methods of what they are compared with.
        group: where a method's settings are looked up.

    Raises:
        InputError: a name is unknown, the group has no setting, or nothing is left to compare.
    """
    known = set().union(*map(_groups, settings.values()))
    if group not in known:
        raise unknown("group", group, known)
    labels = in_group(settings, group)
    chosen = [label for name in names for label in _named(settings, labels, name)] or labels
    baselines = [label for name in others for label in _named(settings, labels, name)]
    exact = {*names, *others}
    pairs = [
        (label, baseline)
        for baseline in baselines
        for label in chosen
        if label != baseline
        and (_panel(settings, label) == _panel(settings, baseline) or {label, baseline} <= exact)
    ]
    if not pairs:
        raise InputError(
            f"nothing to compare: {', '.join(names) or f'group {group}'} with {', '.join(others)}"
        )
    return list(dict.fromkeys(pairs))


def _named(settings: Settings, labels: Sequence[str], name: str) -> list[str]:
    """Return the settings that a label, or a method among ``labels``, stands for."""
    if name in settings:
        return [name]
    methods = {label: settings[label][0]["method"] for label in labels}
    found = [label for label, method in methods.items() if method == name]
    if not found:
        raise unknown("setting", name, {*methods, *methods.values()})
    return found


_EXPLAINED = {
    "seeds+images": "seeds+images: what other seeds and other test images would give",
    "images": (
        "images: other test images for these very networks; with one seed nothing is known of "
        "others, so there is no p-value"
    ),
    "seeds": "seeds: other seeds on these very test images (the parts per image are not stored)",
    "nothing": "nothing: one seed, and the parts per image are not stored",
}
_HEADER = ("setting", "n", "difference", "95 % interval", "p", "p (Holm)", "family", "covers")


def lines(
    records: Sequence[Mapping[str, Any]], means: Mapping[str, Mapping[str, str]]
) -> list[str]:
    """Return the comparisons as text, a block for each baseline and metric.

    Args:
        records: what ``rows`` returns.
        means: for each label and metric, the setting's own mean and interval in words.
    """
    blocks: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for record in records:
        blocks.setdefault((record["baseline"], record["metric"]), []).append(record)
    said = []
    for (baseline, metric), block in blocks.items():
        n = _seeds(block[0], "baseline_")
        said.append(f"{metric} against {baseline} ({means[baseline][metric]}, n = {n})")
        said += [f"  {line}" for line in aligned([_HEADER, *map(_shown, block)])]
        said.append("")
    covers = dict.fromkeys(record["covers"] for record in records if record["covers"])
    return [*said, *(_EXPLAINED[name] for name in covers)]


def _seeds(record: Mapping[str, Any], prefix: str = "") -> str:
    """Return the number of seeds, and of those that were lost."""
    lost = [f"{n} {s}" for s in ("failed", "collapsed") if (n := record[f"{prefix}{s}"])]
    return ", ".join([str(record[f"{prefix}seeds"]), *lost])


def _shown(record: Mapping[str, Any]) -> tuple[str, ...]:
    row = cells([record])[0]
    interval = f"[{row['ci95_low']}, {row['ci95_high']}]" if row["ci95_low"] else "–"
    numbers = (row["difference"], interval, row["p_value"], row["p_holm"])
    kind = record.get("kind", "")
    family = f"{kind} ({row['family']})" if kind and row["family"] else row["family"] or kind
    tail = (family if row["p_value"] else "", row["covers"])
    return (record["setting"], _seeds(record), *(n or "–" for n in (*numbers, *tail)))


def aligned(table: Sequence[Sequence[str]]) -> list[str]:
    """Return the rows of a table as lines, its columns as wide as their widest cell."""
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in table
    ]


def two_runs(first: Path, second: Path) -> dict[str, Any]:
    """Compare two trained models by McNemar's exact test; nothing is said of their methods.

    Args:
        first: folder of a finished run.
        second: another, tested on the same images.

    Raises:
        InputError: a file is missing, a run collapsed, or the test images are others.
    """
    images = [read_npz(folder / "per_image.npz") for folder in (first, second)]
    identities = [read_json(folder / "config.json") for folder in (first, second)]
    for folder, stored in zip((first, second), images, strict=True):
        if "correct" not in stored:
            raise InputError(f"{folder}: a collapsed run has no predictions")
    data = [_test_images(identity) for identity in identities]
    if data[0] != data[1]:
        raise InputError(f"{first} and {second} were tested on other images")
    accuracies = [100 * float(np.mean(stored["correct"])) for stored in images]
    one, other, p = mcnemar(images[0]["correct"], images[1]["correct"])
    return {
        "runs": [first.name, second.name],
        "accuracy": accuracies,
        "images": len(images[0]["correct"]),
        "only_first_correct": one,
        "only_second_correct": other,
        "p_value": p,
    }


def _test_images(identity: Mapping[str, Any]) -> list[Any]:
    """Return what decides a run's test images; an extended split is what a subset leaves out."""
    extended = identity.get("test_images", OFFICIAL) != OFFICIAL
    rest = identity["images_per_class"] if extended else None
    return [identity["data_hash"], identity["num_classes"], identity.get("class_seed"), rest]


def means(settings: Settings) -> dict[str, dict[str, str]]:
    """Return each setting's mean of each metric, with its Student-t interval, in words."""
    return {
        label: {metric: _mean(rows, metric) for metric in METRICS}
        for label, rows in settings.items()
    }


def _mean(rows: Sequence[Row], metric: str) -> str:
    numbers = summarize([float(row[metric]) for row in rows if row["status"] == "ok"])
    if numbers["mean"] is None:
        return "no finished run"
    half = f" ± {text(metric, numbers['ci95'])}" if numbers["ci95"] is not None else ""
    return f"{text(metric, numbers['mean'])}{half}"
