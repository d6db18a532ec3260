"""Comparisons of tiny-imagenet-20 that its comparisons.csv does not have, each family by Holm.

  python benchmarks/families.py

- confirmatory: the family that the note of config/tiny-imagenet-20.yaml states, accuracy alone.
- equal time: each timed method against the single network trained for longer: the longest of its
  trainings that takes no more time by the measured steps (gpu_nvidia-h200.csv, WRN-10-2).
- other methods: each method of the groups rivals, further, later and modes against the single
  network.
- equal time at fifty: compact fission, N = 2, for 50 epochs against the single network for 60. Its
  other divisions would need a single network trained for longer than any was.
- fifty epochs: each setting of the groups long and long_rivals against the single network there.
- recipe: OSKD against the single network at OSKD's rate and decay, and that against the single
  network at its own.
- distillation, grouping ratio, exits: against what differs from a setting in nothing else.

All are on the seeds that both sides have, paired; comparisons.csv has some of them with all of one
side's seeds, unpaired.

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
SINGLE = "single, M 1, lr 0.0649, weight decay 0.000871"
AS_OSKD = "single, M 1, lr 0.274, weight decay 1.21e-05"
OSKD = "oskd, M 1, distillation 0.545"
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
    distillation: float | None = DISTILLATION,
) -> str:
    """Return the label of a setting of fission on WRN-10-2.

    ``distillation`` is None where no other setting of those epochs differs in it: it is not told.
    """
    ratio = ratio or {2: "0.5/0.5", 3: "0.333/0.333/0.333"}[exits]
    stages = stages or {2: "1", 3: "1+2"}[exits]
    distilled = "" if distillation is None else f"distillation {distillation:g}, "
    return (
        f"nfe, M {exits}, ratio {ratio}, exits after {stages}, {distilled}granularity {granularity}"
    )


def confirmatory() -> list[Pair]:
    """Return the twelve pairs that the suite's note states."""
    return [
        (nfe(n, granularity), baseline, None)
        for n in (2, 3)
        for granularity in ("weight", "alternating")
        for baseline in (SINGLE, f"deep_ensemble, M {n}", f"narrow_ensemble, M {n}")
    ]


def longer(settings: Settings, epochs: int) -> str:
    """Return the label of the single network that was trained for so many epochs."""
    wanted = {"method": "single", "architecture": "wrn-10-2", "epochs": str(epochs)}
    (found,) = [label for label, rows in settings.items() if wanted.items() <= rows[0].items()]
    return found


def ratios() -> dict[str, float]:
    """Return how many times the single network's seconds a step of each timed setting takes."""
    with STEPS.open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["architecture"] == "wrn-10-2"]
    return {row["setting"]: float(row["value"]) for row in rows if row["measure"] == "to single"}


def equal_time(settings: Settings) -> list[Pair]:
    """Return each timed setting with the longest single network of no more time."""
    steps = ratios()
    timed = {
        nfe(2): steps["nfe N = 2"],
        nfe(3): steps["nfe N = 3"],
        nfe(2, "alternating"): steps["nfe N = 2, alternating"],
        nfe(3, "alternating"): steps["nfe N = 3, alternating"],
        # Networks one after the other.
        "deep_ensemble, M 2": 2.0,
        "deep_ensemble, M 3": 3.0,
        "narrow_ensemble, M 3": steps["narrow_ensemble M = 3"],
    }
    return [_of_no_more_time(settings, label, 20, ratio) for label, ratio in timed.items()]


def equal_time_at_fifty(settings: Settings) -> list[Pair]:
    """Return the one setting of 50 epochs of whose time a single network was trained."""
    label = nfe(2, "alternating", distillation=None)
    return [_of_no_more_time(settings, label, 50, ratios()["nfe N = 2, alternating"])]


def _of_no_more_time(settings: Settings, label: str, epochs: int, ratio: float) -> Pair:
    """Return a setting with the longest single network that takes no more time than it."""
    return label, longer(settings, max(n for n in LENGTHS if n <= epochs * ratio)), ratio


def exploratory(settings: Settings) -> dict[str, list[Pair]]:
    """Return the pairs of each question that was asked after the runs, or of few seeds."""
    shares = ("0.1/0.9", "0.2/0.8", "0.3/0.7", "0.7/0.3", "0.8/0.2", "0.9/0.1")
    fifty = longer(settings, 50)
    return {
        "other methods": _against(settings, ("rivals", "further", "later", "modes"), SINGLE),
        "fifty epochs": _against(settings, ("long", "long_rivals"), fifty),
        "recipe": [(OSKD, AS_OSKD, None), (AS_OSKD, SINGLE, None)],
        "distillation": [(nfe(n), nfe(n, distillation=0), None) for n in (2, 3)],
        "grouping ratio": [(nfe(2, ratio=share), nfe(2), None) for share in shares],
        "exits": [(nfe(2, stages="2"), nfe(2), None)],
    }


def _against(settings: Settings, groups: Sequence[str], baseline: str) -> list[Pair]:
    """Return each setting of the groups with the baseline."""
    labels = [label for group in groups for label in comparison.in_group(settings, group)]
    return [(label, baseline, None) for label in labels if label != baseline]


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
    found += family(settings, "equal time", equal_time(settings), metrics)
    found += family(settings, "equal time at fifty", equal_time_at_fifty(settings), metrics)
    for question, pairs in exploratory(settings).items():
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
