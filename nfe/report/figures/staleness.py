"""Which of a suite's figures are not what today's code draws from its rows."""

import re
import tempfile
from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path

from nfe.report import figures
from nfe.report.catalogue import FORMATS
from nfe.report.release.manifest import figure_folder

# Points of an SVG, 1/72 inch: sums in another order, on another processor, move a mark by less.
_TOLERANCE = 0.01
_NUMBER = re.compile(r"-?\d+\.?\d*(?:e-?\d+)?")
# Names that are made from coordinates.
_NAME = re.compile(r'#?\b[pmh][0-9a-f]{10}\b|"[A-Z]?[a-z]*_[0-9a-f_]+"')


def stale(results: Path) -> Iterator[str]:
    """Yield a line on each figure of a suite that differs from what its rows give, or is missing.

    Args:
        results: ``ROOT/results/SUITE``; its figures stand in ``ROOT/figures/SUITE``.

    Raises:
        InputError: a table or a run's file is missing or damaged.
    """
    there = figure_folder(results)
    with tempfile.TemporaryDirectory() as folder:
        drawn = figures.draw_all(results / "runs.csv", Path(folder))
        for name in drawn:
            yield from _differences(Path(folder), there, name)
    known = {f"{name}.{kind}" for name in drawn for kind in FORMATS}
    for path in sorted(there.iterdir()):
        if path.name not in known:
            yield f"{path}: not a figure that the suite's rows give"


def _differences(new: Path, old: Path, name: str) -> Iterator[str]:
    paths = [(old / f"{name}.{kind}", new / f"{name}.{kind}") for kind in FORMATS]
    if missing := [path for path, _ in paths if not path.exists()]:
        yield f"{missing[0]}: missing"
        return
    vector = f"{name}.svg"
    if not same_drawing(
        (old / vector).read_text(encoding="utf-8"), (new / vector).read_text(encoding="utf-8")
    ):
        yield f"{old / vector}: stale: not what the suite's rows give; draw it again"
        return
    if (old / vector).read_bytes() != (new / vector).read_bytes():
        # The same to a hundredth of a point: another processor's, whose pixels may differ too.
        return
    for path, right in paths:
        if path.read_bytes() != right.read_bytes():
            yield f"{path}: stale: not what the suite's rows give; draw it again"


def same_drawing(one: str, other: str) -> bool:
    """Return whether two SVGs are alike, but for the last digits of their coordinates."""
    if one == other:
        return True
    texts = [_NAME.sub("", text) for text in (one, other)]
    if _NUMBER.sub("", texts[0]) != _NUMBER.sub("", texts[1]):
        return False
    numbers = (map(float, _NUMBER.findall(text)) for text in texts)
    return all(
        a is not None and b is not None and abs(a - b) <= _TOLERANCE
        for a, b in zip_longest(*numbers)
    )
