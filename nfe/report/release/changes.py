"""What moved between two versions of a suite's tables, and by how much."""

import csv
from pathlib import Path

from nfe.report.schema import METRICS, SETTING, SINCE_2, newest, text
from nfe.report.table_diff import compare
from nfe.report.tables import RECIPE, Row, labels, title


def moved(suite_name: str, version: str, folder: Path, previous: Path | None) -> str:
    """Return the changes since the previous version as Markdown.

    Args:
        suite_name: the suite.
        version: the new version.
        folder: where the new version's runs.csv and summary.csv stand.
        previous: where the previous version's stand; None for a first release.
    """
    after = _settings(folder)
    lines = [f"# {suite_name} {version}", ""]
    if previous is None:
        return "\n".join([*lines, f"First release: {len(after)} settings.", ""])
    before = _renamed(_settings(previous), after)
    lines[0] += f": what moved since {previous.name}"
    for word, names in (
        ("New", after.keys() - before.keys()),
        ("Gone", before.keys() - after.keys()),
    ):
        lines += [f"{word}: {name}." for name in sorted(names)]
    rows = [
        f"| {name} | {metric} | {_cell(old, metric)} | {_cell(new, metric)} | {difference} |"
        for name, new in after.items()
        if (old := before.get(name)) is not None
        for metric in METRICS
        if (difference := _difference(old, new, metric))
    ]
    shared = len(after.keys() & before.keys())
    lines += [f"{shared} settings are in both; {len(rows)} of their means moved.", ""]
    if rows:
        lines += ["| setting | metric | before | after | difference |", "|---|---|---|---|---|"]
        lines += [*rows, ""]
    return "\n".join([*lines, "Run by run:", "", "```", compare(previous, folder), "```", ""])


def _settings(folder: Path) -> dict[str, Row]:
    with open(folder / "summary.csv", newline="", encoding="utf-8") as file:
        rows = [
            # A version may be in an older schema: a setting has one name in both.
            {column: newest(column, cell) for column, cell in row.items() if column not in SINCE_2}
            for row in csv.DictReader(file)
        ]
    return dict(zip(labels(rows), rows, strict=True))


def _renamed(before: dict[str, Row], after: dict[str, Row]) -> dict[str, Row]:
    """Return the old settings under the names that they have now.

    What tells settings apart stands in their names: those of a larger suite can be longer, and a
    name can have become another setting's. Where no setting now is the old one, as with columns of
    an older schema, one of its name is, unless that is known to be another.
    """
    now = {_identity(row): name for name, row in after.items()}
    taken = {now[identity] for row in before.values() if (identity := _identity(row)) in now}
    found = {}
    for name, row in before.items():
        own = f"{title(row)}: {name}" if name in taken else name
        found[now.get(_identity(row), own)] = row
    return found


def _identity(row: Row) -> tuple[str, ...]:
    return tuple(row[column] for column in (*SETTING, "settings", "epochs", *RECIPE, "recipe"))


def _cell(row: Row, metric: str) -> str:
    return row[f"{metric}_mean"] or "–"


def _difference(old: Row, new: Row, metric: str) -> str:
    """Return new − old with its sign; empty where the mean is the same text."""
    pair = _cell(old, metric), _cell(new, metric)
    if pair[0] == pair[1]:
        return ""
    if "–" in pair:
        return "–"
    change = float(pair[1]) - float(pair[0])
    return f"{'+' if change > 0 else ''}{text(metric, change)}"
