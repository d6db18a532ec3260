"""Comparisons of tiny-imagenet-20 that its comparisons.csv does not have, each family by Holm.

  python benchmarks/families.py

- confirmatory: the family that the note of config/tiny-imagenet-20.yaml states, accuracy alone.
- equal time: each timed method against the single network trained for longer: the longest of its
  trainings that takes no more time by the measured steps (gpu_nvidia-h200.csv, WRN-10-2).
- other methods: each method of the groups rivals and further against the single network.
- other methods, distillation, grouping ratio, exits: on the seeds that both sides have, paired;
  comparisons.csv has them with all of one side's ten seeds, unpaired, or not at all.

Writes families_tiny-imagenet-20.csv, from the suite's tables and per-image files alone.
"""

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from nfe.common.files import write_bytes
from nfe.report import comparison
from nfe.report.schema import text
from nfe.report.statistics import holm
from nfe.report.tables import csv_bytes, read_settings

HERE = Path(__file__).parent
RESULTS = HERE.parent / "results" / "tiny-imagenet-20"
STEPS = HERE / "gpu_nvidia-h200.csv"
OUTPUT = HERE / "families_tiny-imagenet-20.csv"
COLUMNS = (
    "question",
    "setting",
    "baseline",
    "epochs",
    "baseline_epochs",
    "time_ratio",
    "metric",
    "difference",
    "ci95_low",
    "ci95_high",
    "p_value",
    "p_holm",
    "family",
    "paired",
    "seeds",
    "baseline_seeds",
)
LENGTHS = (24, 30, 40, 60)
LONGER = (
    "tiny-imagenet 32×32 (20-classes-drawn-1-250-per-class-extended-test), wrn-10-2, "
    "{} epochs, protocol equal: single, M 1"
)
DISTILLATION = 0.459
Settings = dict[str, list[comparison.Row]]
# Labels of a setting and of its baseline, and how much time the setting takes where that matters.
Pair = tuple[str, str, float | None]


def nfe(
    exits: int,
    granularity: str = "weight",
    *,
    ratio: str = "",
    stages: str = "",
    distillation: float = DISTILLATION,
) -> str:
    """Return the label of a setting of fission on WRN-10-2."""
    ratio = ratio or {2: "0.5/0.5", 3: "0.333/0.333/0.333"}[exits]
    stages = stages or {2: "1", 3: "1+2"}[exits]
    return (
        f"nfe, M {exits}, ratio {ratio}, exits after {stages}, "
        f"distillation {distillation:g}, granularity {granularity}"
    )


def confirmatory() -> list[Pair]:
    """Return the twelve pairs that the suite's note states."""
    return [
        (nfe(n, granularity), baseline, None)
        for n in (2, 3)
        for granularity in ("weight", "alternating")
        for baseline in ("single, M 1", f"deep_ensemble, M {n}", f"narrow_ensemble, M {n}")
    ]


def equal_time() -> list[Pair]:
    """Return each timed setting with the longest single network of no more time."""
    with STEPS.open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["architecture"] == "wrn-10-2"]
    steps = {row["setting"]: float(row["value"]) for row in rows if row["measure"] == "to single"}
    ratios = {
        nfe(2): steps["nfe N = 2"],
        nfe(3): steps["nfe N = 3"],
        nfe(2, "alternating"): steps["nfe N = 2, alternating"],
        nfe(3, "alternating"): steps["nfe N = 3, alternating"],
        # Networks one after the other.
        "deep_ensemble, M 2": 2.0,
        "deep_ensemble, M 3": 3.0,
        "narrow_ensemble, M 3": steps["narrow_ensemble M = 3"],
    }
    return [
        (label, LONGER.format(max(n for n in LENGTHS if n <= 20 * ratio)), ratio)
        for label, ratio in ratios.items()
    ]


def of_few_seeds(settings: Settings) -> dict[str, list[Pair]]:
    """Return the pairs of which one side has three or five seeds and the other ten."""
    shares = ("0.1/0.9", "0.2/0.8", "0.3/0.7", "0.7/0.3", "0.8/0.2", "0.9/0.1")
    others = [
        label for group in ("rivals", "further") for label in comparison.in_group(settings, group)
    ]
    return {
        "other methods": [(label, "single, M 1", None) for label in others],
        "distillation": [(nfe(n), nfe(n, distillation=0), None) for n in (2, 3)],
        "grouping ratio": [(nfe(2, ratio=share), nfe(2), None) for share in shares],
        "exits": [(nfe(2, stages="2"), nfe(2), None)],
    }


def compared(settings: Settings, pair: Pair) -> list[dict[str, Any]]:
    """Return the comparisons of a pair on the seeds that both sides have."""
    labels = pair[:2]
    seeds = [{row["seed"] for row in settings[label]} for label in labels]
    sides = {
        label: [row for row in settings[label] if row["seed"] in seeds[0] & seeds[1]]
        for label in labels
    }
    lengths = {"baseline_epochs": sides[pair[1]][0]["epochs"], "time_ratio": pair[2]}
    return [row | lengths for row in comparison.rows(sides, [labels], RESULTS / "runs")]


def family(
    settings: Settings, question: str, pairs: Sequence[Pair], metrics: Sequence[str]
) -> Iterator[dict[str, Any]]:
    """Yield a question's rows; Holm's correction is over those of one metric."""
    found = [row for pair in pairs for row in compared(settings, pair)]
    for metric in metrics:
        rows = [row for row in found if row["metric"] == metric]
        adjusted = holm([row["p_value"] for row in rows])
        for row, p in zip(rows, adjusted, strict=True):
            yield row | {"question": question, "p_holm": p, "family": len(rows)}


def table() -> bytes:
    """Return the table as CSV."""
    settings = read_settings(RESULTS)
    metrics = ("accuracy", "nll", "ece")
    found = [*family(settings, "confirmatory", confirmatory(), ("accuracy",))]
    found += family(settings, "equal time", equal_time(), metrics)
    for question, pairs in of_few_seeds(settings).items():
        found += family(settings, question, pairs, metrics)
    rows = []
    for record in found:
        row = {column: text(column, record[column]) for column in COLUMNS}
        for column in ("difference", "ci95_low", "ci95_high"):
            row[column] = text(record["metric"], record[column])
        rows.append(row)
    return csv_bytes(COLUMNS, rows)


if __name__ == "__main__":
    write_bytes(OUTPUT, table())
