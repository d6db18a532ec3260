"""Over which comparisons of a suite p is corrected: fixed by the suite, whatever is asked for.

``comparisons.csv`` has a family for each baseline and metric. A suite that states a confirmatory
family has that one besides, and for its comparisons it is the one that counts.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from nfe.common.errors import InputError
from nfe.report import comparison
from nfe.report.comparison import Settings
from nfe.report.release.manifest import root
from nfe.suite.expansion import Suite, expand, load_plan, read_config

CONFIRMATORY, BASELINE, EXPLORATORY = "confirmatory", "baseline", "exploratory"
_TOLD = {
    CONFIRMATORY: "confirmatory (how many): stated in the suite's configuration before any run "
    "was made, one correction; p_holm of comparisons.csv is by baseline here, too",
    BASELINE: "baseline (how many): all rows of comparisons.csv with the same baseline and metric, "
    "whichever of them are shown",
    EXPLORATORY: "exploratory: none of the suite's own comparisons (comparisons.csv); p is not "
    "corrected",
}


def suite_of(results: Path) -> Suite | None:
    """Return the suite of a results folder; None where no single plan stands there.

    What the configuration tells readers may have been added since the plan was written: it is
    read where it gives that very plan.

    Args:
        results: ``ROOT/results/SUITE``; the configuration is ``ROOT/config/SUITE.yaml``.

    Raises:
        InputError: the plan is damaged.
    """
    plans = list(results.glob("plan-*.json"))
    if len(plans) != 1:
        return None
    config = root(results) / "config" / f"{results.resolve().name}.yaml"
    if config.exists():
        try:
            suite = expand(read_config(config))
        except InputError:
            # Changed since, and no longer a suite: the plan is what was made.
            return load_plan(plans[0])
        if plans[0].name == f"plan-{suite.digest}.json":
            return suite
    return load_plan(plans[0])


def rows(
    settings: Settings,
    pairs: Iterable[tuple[str, str]],
    results: Path,
    resampler: comparison.Resampler | None = None,
) -> list[dict[str, Any]]:
    """Return one record per pair and metric, corrected as the suite has fixed it.

    Args:
        settings: the rows of runs.csv of each setting, by its label.
        pairs: labels of a setting and of what it is compared with.
        results: the suite's results folder.
        resampler: of its runs, where the caller resamples them, too.

    Returns:
        Records of ``comparison.COLUMNS``, and in ``kind`` which family it is. A pair that the
        suite does not compare has neither ``p_holm`` nor ``family``.

    Raises:
        InputError: see ``comparison.rows``.
    """
    asked = list(dict.fromkeys(pairs))
    suite = suite_of(results)
    every = comparison.suite_pairs(settings, suite.comparisons if suite else ())
    baselines = {baseline for _, baseline in asked}
    table = [pair for pair in every if pair[1] in baselines]
    stated: list[tuple[str, str]] = []
    if suite and suite.confirmatory:
        stated = comparison.wanted_pairs(settings, suite.confirmatory.comparisons)
        if len(stated) < len(suite.confirmatory.comparisons) or not {*stated} & {*asked}:
            # With a part of its runs missing, it is not the family that was stated.
            stated = []
    wanted = dict.fromkeys([*asked, *table, *stated])
    resampler = resampler or comparison.Resampler(results / "runs")
    found = {
        ((record["setting"], record["baseline"]), record["metric"]): record | {"kind": EXPLORATORY}
        for record in comparison.uncorrected(settings, wanted, resampler)
    }
    by_baseline = [record for (pair, _), record in found.items() if pair in table]
    comparison.correct_by_baseline(by_baseline)
    _name(by_baseline, BASELINE)
    if suite and suite.confirmatory and stated:
        family = [found[pair, suite.confirmatory.metric] for pair in stated]
        comparison.correct(family)
        _name(family, CONFIRMATORY)
    return [found[pair, metric] for pair in asked for metric in comparison.METRICS]


def _name(records: Iterable[dict[str, Any]], kind: str) -> None:
    for record in records:
        record["kind"] = kind


def lines(records: Sequence[dict[str, Any]]) -> list[str]:
    """Return in words what the families of some records are."""
    kinds = {record["kind"] for record in records if record["p_value"] is not None}
    told = [text for kind, text in _TOLD.items() if kind in kinds]
    return ["Families of p (Holm), fixed by the suite:", *told] if told else []
