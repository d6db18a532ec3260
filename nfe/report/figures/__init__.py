"""The paper's figures and more, drawn from files in git alone: one file for each family.

Every figure has one panel (or row of panels) for each data set and architecture, shows its seeds
as bars or bands, and says beside the legend what these are and which runs were lost.
"""

import importlib
from collections.abc import Callable
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from nfe.common.errors import unknown
from nfe.report.catalogue import FIGURES, FORMATS
from nfe.report.figures.data import FigureData, read

# Figures that a file draws besides the one of its own name.
_FURTHER = {"exit_places": ("exits", "draw_places")}


def drawer(name: str) -> Callable[[FigureData], Figure]:
    """Return what draws a figure; some need PyTorch, so only its own file is loaded."""
    file, function = _FURTHER.get(name, (name, "draw"))
    found: Callable[[FigureData], Figure] = getattr(
        importlib.import_module(f"nfe.report.figures.{file}"), function
    )
    return found


def draw(name: str, runs: Path, folder: Path) -> None:
    """Draw one figure from runs.csv and what stands beside it; write it in every format.

    Raises:
        InputError: there is no figure of that name, or no run for it.
    """
    if name not in FIGURES:
        raise unknown("figure", name, FIGURES)
    material = read(runs, FIGURES[name])
    # Same files, same bytes: no random ids and no dates.
    with mpl.rc_context({"svg.hashsalt": "nfe-bench"}):
        figure = drawer(name)(material)
        for kind in FORMATS:
            _save(figure, folder / f"{name}.{kind}", kind)
    plt.close(figure)


def _save(figure: Figure, path: Path, kind: str) -> None:
    undated = {"png": {}, "svg": {"Date": None}, "pdf": {"CreationDate": None}}
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp")
    figure.savefig(temporary, format=kind, dpi=160, metadata=undated[kind])
    temporary.replace(path)
