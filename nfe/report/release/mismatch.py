"""Two versions of a value, and the first place in which they differ."""

import csv
import io
import json
from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np


def first_difference(path: Path, found: Any, right: Any, place: str = "") -> list[str]:
    """Return the first place in which two JSON values differ; empty where they are equal."""
    if isinstance(found, dict) and isinstance(right, dict):
        pairs: Any = ((k, found.get(k), right.get(k)) for k in {**right, **found})
    elif isinstance(found, list) and isinstance(right, list):
        pairs = ((i, f, r) for i, (f, r) in enumerate(zip_longest(found, right)))
    elif found == right:
        return []
    else:
        return [f"{path}: {place}: {json.dumps(found)}, expected {json.dumps(right)}"]
    for key, one, other in pairs:
        where = f"{place}/{key}" if place else str(key)
        if inner := first_difference(path, one, other, where):
            return inner
    return []


def lines(path: Path, found: str, expected: str) -> Iterator[str]:
    """Yield the first line of a text that differs."""
    pairs = zip_longest(found.splitlines(), expected.splitlines(), fillvalue="(nothing)")
    for number, (line, right) in enumerate(pairs, start=1):
        if line != right:
            yield f"{path}: line {number}: {line}, recomputed {right}"
            return


def cells(path: Path, found: str, expected: str) -> Iterator[str]:
    """Yield each cell of a CSV table that differs, by its row's ``run`` or line and its column.

    Of another header only the first difference: cells of other columns cannot be compared.
    """
    made, rows = (list(csv.reader(io.StringIO(text))) for text in (expected, found))
    header = made[0]
    key = header.index("run") if "run" in header else None
    for number, (right, row) in enumerate(zip_longest(made, rows), start=1):
        name = right[key] if right and key is not None and number > 1 else f"line {number}"
        if row is None or right is None:
            yield f"{path}: {name}: {'missing' if row is None else 'nothing makes this row'}"
            continue
        for column, cell, value in zip_longest(header, row, right, fillvalue="(nothing)"):
            if cell != value:
                yield f"{path}: {name}: {column}: {cell}, recomputed {value}"
                if number == 1:
                    return


def near(found: Any, right: Any, tolerance: float) -> bool:
    """Return whether numbers, or lists of them, agree to ``tolerance``; other values are equal."""
    if isinstance(right, list):
        same = isinstance(found, list) and len(found) == len(right)
        return same and all(map(lambda f, r: near(f, r, tolerance), found, right))
    if isinstance(right, float) and isinstance(found, float):
        return abs(found - right) <= tolerance
    return bool(found == right)


def close(found: np.ndarray[Any, Any], right: np.ndarray[Any, Any]) -> bool:
    """Return whether arrays agree: to rounding where they hold float32, else exactly."""
    if found.shape != right.shape or found.dtype != right.dtype:
        return False
    exact = right.dtype.kind != "f"
    return np.array_equal(found, right) if exact else np.allclose(found, right, 1e-5, 1e-7)
