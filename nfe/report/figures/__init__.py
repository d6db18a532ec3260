"""The paper's figures and more, drawn from files in git alone: one file for each family.

Every figure has one panel (or row of panels) for each data set and architecture, shows its seeds
as bars or bands, and says beside the legend what these are and which runs were lost.
"""

from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")

import matplotlib.pyplot as plt

from nfe.engine.errors import unknown
from nfe.report.catalogue import FIGURES, FORMATS
from nfe.report.figures import (
    accuracy_vs_flops,
    calibration,
    capacity,
    early_exit,
    exits,
    grouping_ratio,
    pai,
    reliability,
)
from nfe.report.figures.material import Material, read

_DRAWN_BY = {
    "accuracy_vs_flops": accuracy_vs_flops.draw,
    "pai": pai.draw,
    "grouping_ratio": grouping_ratio.draw,
    "capacity": capacity.draw,
    "calibration": calibration.draw,
    "reliability": reliability.draw,
    "exits": exits.draw,
    "exit_places": exits.draw_places,
    "early_exit": early_exit.draw,
}


def draw(name: str, runs: Path, folder: Path) -> None:
    """Draw one figure from runs.csv and what stands beside it; write it in every format.

    Raises:
        InputError: there is no figure of that name, or no run for it.
    """
    if name not in FIGURES:
        raise unknown("figure", name, FIGURES)
    material: Material = read(runs, FIGURES[name])
    # Same files, same bytes: no random ids and no dates.
    with mpl.rc_context({"svg.hashsalt": "nfe-bench"}):
        figure = _DRAWN_BY[name](material)
        for kind in FORMATS:
            _save(figure, folder / f"{name}.{kind}", kind)
    plt.close(figure)


def _save(figure: mpl.figure.Figure, path: Path, kind: str) -> None:
    undated = {"png": {}, "svg": {"Date": None}, "pdf": {"CreationDate": None}}
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp")
    figure.savefig(temporary, format=kind, dpi=160, metadata=undated[kind])
    temporary.replace(path)
