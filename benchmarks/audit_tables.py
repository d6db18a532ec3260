"""What the audit's runs say: each departure's difference to ours, and the document's tables."""

import statistics
from collections.abc import Mapping, Sequence

import numpy as np
from audit_departures import SETTINGS, Setting
from audit_record import Record

from nfe.common.errors import InputError
from nfe.report.statistics import Array, Contrast, Sample, compare, holm, image_weights

DIFFERENCE_COLUMNS = (
    *("departure", "metric", "n", "difference", "low", "high", "covers", "p", "p_holm"),
)
# Metric, its column of ``evaluation.per_image``, and what that is multiplied by.
METRICS = (("accuracy", "correct", 100.0), ("nll", "nll", 1.0))
BEST_EPOCH = "f. best epoch on the test set"


def best_epoch(setting: Setting) -> str:
    """Return the name of departure f (the best epoch on the test set) for a setting of ours."""
    return setting.name.replace("ours", "f", 1)


def has_best_epoch(setting: Setting) -> bool:
    """Return whether departure f is stated for a setting: for ours, where nothing is pruned."""
    return not setting.compared_with and "snip" not in setting.name


def sample(
    images: Sequence[Mapping[str, Array]], column: str, unit: float, weights: Array
) -> Sample:
    """Return the mean of a column in a setting's runs, and on resampled images."""
    values = unit * np.stack([run[column].astype(np.float64) for run in images])
    return Sample(values.mean(axis=1), values @ weights.T)


def optimism(record: Record, setting: str, metric: str) -> tuple[int, Contrast] | None:
    """Return what the best epoch on the test set adds to the last one (f), over the seeds."""
    rows = [record.rows[setting, seed] for seed in record.seeds(setting)]
    done = [row for row in rows if row["status"] == "ok"]
    gaps = [float(row[f"best_test_{metric}"]) - float(row[metric]) for row in done]
    return (len(gaps), Contrast.of(Sample(np.array(gaps), None))) if gaps else None


def contrasts(
    record: Record, metric: str, column: str, unit: float
) -> dict[str, tuple[int, Contrast]]:
    """Return each departure's number of seeds and difference, over the seeds that both have."""
    found: dict[str, tuple[int, Contrast]] = {}
    done = record.images
    for name in record.order:
        compared = SETTINGS[name].compared_with
        seeds = [s for s in record.seeds(name) if {(name, s), (compared, s)} <= done.keys()]
        if seeds:
            weights = image_weights(len(done[name, seeds[0]][column]))
            first, second = (
                sample([done[one, s] for s in seeds], column, unit, weights)
                for one in (name, compared)
            )
            found[name] = len(seeds), compare(first, second, paired=True)
    for name in record.order:
        if has_best_epoch(SETTINGS[name]) and (gain := optimism(record, name, metric)):
            found[best_epoch(SETTINGS[name])] = gain
    return found


def difference_rows(record: Record) -> list[dict[str, object]]:
    """Return the table of differences; the p-values of a metric are one family (Holm)."""
    rows: list[dict[str, object]] = []
    for metric, column, unit in METRICS:
        found = contrasts(record, metric, column, unit)
        p_values = [contrast.p_value() for _, contrast in found.values()]
        for (name, (n, contrast)), p, corrected in zip(
            found.items(), p_values, holm(p_values), strict=True
        ):
            mean, half = float(contrast.difference), float(contrast.half_width())
            rows.append(
                {
                    "departure": name,
                    "metric": metric,
                    "n": n,
                    "difference": f"{mean:.4f}",
                    "low": f"{mean - half:.4f}",
                    "high": f"{mean + half:.4f}",
                    "covers": contrast.covers,
                    "p": f"{p:.4f}",
                    "p_holm": f"{corrected:.4f}",
                }
            )
    return rows


# --- The document --------------------------------------------------------------------------


def markdown(rows: Sequence[Mapping[str, str]], differences: Sequence[Mapping[str, str]]) -> str:
    """Return the document's table from the two CSV tables: means over seeds, and differences."""
    lines = ["| setting | n | accuracy, % | difference | NLL | difference |", "|" + "---|" * 6]
    done = [row for row in rows if row["status"] == "ok"]
    for baseline in (setting for setting in SETTINGS.values() if not setting.compared_with):
        own = [row for row in done if row["setting"] == baseline.name]
        if not own:
            continue
        lines.append(_line(baseline.title, own, ""))
        told: list[tuple[str, str, str, str]] = [
            (s.title, s.name, s.name, "")
            for s in SETTINGS.values()
            if s.compared_with == baseline.name
        ]
        if has_best_epoch(baseline):
            told.append((BEST_EPOCH, best_epoch(baseline), baseline.name, "best_test_"))
        for title, departure, name, prefix in sorted(told):
            own = [row for row in done if row["setting"] == name]
            compared = [row for row in differences if row["departure"] == departure]
            if own:
                lines.append(_line(title, own, prefix, compared))
    return "\n".join(lines)


def _line(
    title: str,
    rows: Sequence[Mapping[str, str]],
    prefix: str,
    compared: Sequence[Mapping[str, str]] = (),
) -> str:
    differences = {row["metric"]: row for row in compared}
    cells = [title, str(len(rows))]
    for metric, digits in (("accuracy", 2), ("nll", 3)):
        mean = statistics.fmean(float(row[f"{prefix}{metric}"]) for row in rows)
        cells += [f"{mean:.{digits}f}", _interval(differences.get(metric), digits)]
    return "| " + " | ".join(cells) + " |"


def _interval(row: Mapping[str, str] | None, digits: int) -> str:
    if row is None:
        return ""
    parts = (f"{float(row[name]):+.{digits}f}" for name in ("difference", "low", "high"))
    mean, low, high = (part.replace("-", "−") for part in parts)
    return f"{mean} ({low} to {high})"


def filled(document: str, task: str, table: str) -> str:
    """Return the document with a task's table in its place.

    Raises:
        InputError: the document has no such place.
    """
    begin, end = f"<!-- table: {task} -->\n", "\n<!-- end of the table -->"
    before, found, rest = document.partition(begin)
    _, closed, after = rest.partition(end)
    if not (found and closed):
        raise InputError(f"the document has no place for {task}: needed: {begin.strip()} … {end}")
    return f"{before}{begin}{table}{end}{after}"
