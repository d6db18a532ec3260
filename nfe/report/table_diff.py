"""Two versions of a suite's runs.csv, side by side."""

from pathlib import Path

import pandas as pd

from nfe.report.reading import read
from nfe.report.schema import METRICS, TIMING, newest


def _read(path: Path) -> pd.DataFrame:
    required = ("run", "status", *METRICS)
    table = read(path / "runs.csv", required, dtype=str, keep_default_na=False)
    table = table.apply(lambda cells: cells.map(lambda cell: newest(cells.name, cell)))
    return table.set_index("run", drop=False)


def compare(released: Path, made: Path) -> str:
    """Return what differs between two results folders, as text.

    Rows are matched by run; timing columns are left out, since they depend on the machine. The two
    may be of different schemas: what only the notation tells apart is no difference.

    Raises:
        InputError: a folder has no runs.csv.
    """
    before, after = _read(released), _read(made)
    lines = [f"{run}: only in {released}" for run in before.index.difference(after.index)]
    lines += [f"{run}: only in {made}" for run in after.index.difference(before.index)]
    shared = [run for run in before.index if run in after.index]
    columns = [c for c in before.columns if c in after.columns and c not in (*TIMING, "schema")]
    equal = 0
    for run in shared:
        changed = [c for c in columns if before.at[run, c] != after.at[run, c]]
        equal += not changed
        lines += [f"{run}: {c}: {before.at[run, c]} -> {after.at[run, c]}" for c in changed]
    lines.append(f"{equal} of {len(shared)} shared rows are equal in every column but timing")
    if len(shared) > equal:
        lines.append(_largest(before.loc[shared], after.loc[shared]))
    return "\n".join(lines)


def _largest(before: pd.DataFrame, after: pd.DataFrame) -> str:
    parts = []
    for metric in METRICS:
        pairs = [pd.to_numeric(table[metric], errors="coerce") for table in (before, after)]
        parts.append(f"{metric} {(pairs[1] - pairs[0]).abs().max():.4g}")
    return "largest absolute differences: " + ", ".join(parts)
