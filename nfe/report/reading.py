"""runs.csv as a table."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from nfe.common.errors import InputError


def read(path: Path, columns: Sequence[str], **options: Any) -> pd.DataFrame:
    """Read a suite's runs.csv.

    Args:
        path: the file.
        columns: what it must have.
        options: for ``pandas.read_csv``.

    Raises:
        InputError: the file is missing, is no table, or lacks a column.
    """
    try:
        table = pd.read_csv(path, **options)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except ValueError as error:
        raise InputError(f"{path}: not a table of runs ({str(error).strip()})") from None
    missing = [column for column in columns if column not in table.columns]
    if missing:
        raise InputError(f"{path}: not a table of runs (no column {missing[0]!r})")
    return table
