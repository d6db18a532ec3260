"""nfe-bench snakefile: where the workflow's files are, for use outside a clone."""

import argparse
from pathlib import Path

from nfe.common.errors import InputError


def folder() -> Path:
    """Return the folder of Snakefile, rules and profiles.

    Raises:
        InputError: they are not there.
    """
    package = Path(__file__).resolve().parents[1]
    # In the wheel beside the package's modules; in a clone at its root.
    places = [package / "snakemake", package.parent]
    found = next((place for place in places if (place / "Snakefile").is_file()), None)
    if found is None:
        raise InputError(f"{places[0]}: no Snakefile: allowed: the package from its wheel")
    return found


def snakefile(arguments: argparse.Namespace) -> int:
    """Print where the workflow is: snakemake -s "$(nfe-bench snakefile)" works in any folder."""
    print(folder() / "Snakefile")
    return 0
