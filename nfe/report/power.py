"""What differences comparisons could establish: power, from the variances of finished runs.

docs/statistics.md says what is assumed.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy.optimize import brentq
from scipy.stats import chi2, norm

from nfe.report import comparison, families
from nfe.report.comparison import Resampler, Settings
from nfe.report.schema import text
from nfe.report.statistics import Array, Contrast

ALPHA, POWER = 0.05, 0.8
# Seeds of both settings for which the answer is given besides those that there are.
SEEDS = (3, 5, 10, 20)
# Of each estimated variance, for the mean over what it may come out as.
_QUANTILES = 200


def with_seeds(contrast: Contrast, seeds: int) -> Contrast:
    """Return the contrast as it would be expected of so many seeds of each setting.

    Variance due to seeds, and the seeds' interaction with the images, fall as 1 / seeds; variance
    due to the test images stays.
    """
    counts = [freedom + 1 for _, freedom in contrast.seeds]
    shrinks = sum(1 / count for count in counts) / len(counts) * seeds
    return dataclasses.replace(
        contrast,
        seeds=tuple(
            (variance * count / seeds, seeds - 1)
            for (variance, _), count in zip(contrast.seeds, counts, strict=True)
        ),
        least=contrast.images + (contrast.least - contrast.images) / shrinks,
    )


def chance(contrast: Contrast, difference: float, alpha: float) -> float:
    """Return the probability that a true difference is established at the level ``alpha``.

    The estimate is normal; the seeds' estimated variances, from which the interval is made, are
    χ² about the given ones, independently of it. With seeds as the only source of variance that is
    the power of Student's t-test.
    """
    error = math.sqrt(_variance(contrast))
    half = _half_widths(contrast, alpha)
    above = norm.sf((half - difference) / error)
    below = norm.cdf((-half - difference) / error)
    return float(np.mean(above + below))


def _half_widths(contrast: Contrast, alpha: float) -> Array:
    """Return equally likely half-widths of the interval, over what the seeds' variances may be."""
    shares = (np.arange(_QUANTILES) + 0.5) / _QUANTILES
    grids = np.meshgrid(*(chi2.ppf(shares, f) / f for _, f in contrast.seeds))
    estimated = tuple(
        (variance * grid, freedom)
        for (variance, freedom), grid in zip(contrast.seeds, grids, strict=True)
    )
    return dataclasses.replace(contrast, seeds=estimated).half_width(alpha)


def detectable(contrast: Contrast, alpha: float = ALPHA, power: float = POWER) -> float | None:
    """Return the true difference that is established with probability ``power``.

    None where nothing is known of other seeds.
    """
    if not contrast.seeds:
        return None
    error = math.sqrt(_variance(contrast))
    if error == 0:
        return 0.0
    # As the interval varies with the variance that its few seeds happen to show.
    most = float(_half_widths(contrast, alpha).max()) + 10 * error
    return float(brentq(lambda size: chance(contrast, size, alpha) - power, 0.0, most))


def _variance(contrast: Contrast) -> float:
    seeds = sum(float(variance) for variance, _ in contrast.seeds)
    return max(seeds + float(contrast.images), float(contrast.least))


def rows(
    settings: Settings, pairs: Iterable[tuple[str, str]], results: Path
) -> list[dict[str, Any]]:
    """Return one record per pair and metric: the detectable differences.

    Args:
        settings: the rows of runs.csv of each setting, by its label.
        pairs: labels of a setting and of what it is compared with.
        results: the suite's results folder.

    Returns:
        What ``families.rows`` says of each, without its test, and: ``alone``, detectable with one
        test at 5 %; ``detectable``, number of seeds → detectable at the first and strictest of
        Holm's steps (5 % / family); both None where a setting has one finished seed.

    Raises:
        InputError: see ``comparison.rows``.
    """
    resampler = Resampler(results / "runs")
    found = []
    for record in families.rows(settings, pairs, results, resampler):
        kept = {key: record[key] for key in _KEPT}
        pair = (record["setting"], record["baseline"])
        contrast = comparison.contrast(settings, pair, record["metric"], resampler)
        found.append(kept | _detectable(contrast, record))
    return found


_KEPT = ("setting", "baseline", "metric", "difference", "seeds", "baseline_seeds", "family", "kind")


def _detectable(contrast: Contrast | None, record: Mapping[str, Any]) -> dict[str, Any]:
    if contrast is None or not contrast.seeds:
        return {"alone": None, "detectable": None}
    level = ALPHA / (record["family"] or 1)
    now = {min(record["seeds"], record["baseline_seeds"]): detectable(contrast, level)}
    planned = {n: detectable(with_seeds(contrast, n), level) for n in SEEDS if n not in now}
    return {"alone": detectable(contrast), "detectable": now | planned}


def lines(records: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the records as text, a block for each baseline and metric."""
    blocks: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for record in records:
        blocks.setdefault((record["baseline"], record["metric"]), []).append(record)
    header = ("setting", "n", "family", "alone", "now", *(f"{n} seeds" for n in SEEDS))
    said = []
    for (baseline, metric), block in blocks.items():
        said.append(f"{metric} against {baseline}")
        said += [f"  {line}" for line in comparison.aligned([header, *map(_shown, block)])]
        said.append("")
    return [
        *said,
        f"The smallest true difference that is established with probability {POWER:.0%}: alone, by "
        f"one test at {ALPHA:.0%} with",
        "the seeds that there are; else at the first of Holm's steps over the family, now and with "
        "other numbers of",
        "seeds. From the variances of these runs, which few seeds know badly; the test images stay "
        "as many.",
    ]


def _shown(record: Mapping[str, Any]) -> tuple[str, ...]:
    found = record["detectable"]
    head = (record["setting"], str(record["seeds"]), str(record["family"] or 1))
    if found is None:
        return (*head, *["–"] * (2 + len(SEEDS)))
    now = next(iter(found.values()))
    sizes = (record["alone"], now, *(found[n] for n in SEEDS))
    return (*head, *(text(record["metric"], size) for size in sizes))
