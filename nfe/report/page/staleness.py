"""Whether a suite's page is what today's code draws from its tables and its runs' files."""

from collections.abc import Iterator
from pathlib import Path

from nfe.report.page import content, render
from nfe.report.release.manifest import PAGE


def stale(results: Path) -> Iterator[str]:
    """Yield a line where a suite's page differs, in any byte, from what would be drawn now.

    The figures in it are the files of ``ROOT/figures/SUITE``, which are checked by themselves.

    Args:
        results: ``ROOT/results/SUITE``.

    Raises:
        InputError: a table or a run's file is missing or damaged.
    """
    path = results / PAGE
    if path.exists() and path.read_bytes() != render(content.collect(results)).encode():
        yield (
            f"{path}: stale: not what the suite's tables and figures give; "
            f"draw it again: nfe-bench page {results}"
        )
