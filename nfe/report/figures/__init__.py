"""The paper's figures and more, drawn from files in git alone: one file for each family.

Every figure has one panel (or row of panels) for each data set and architecture, puts each mark at
its very value, shows the uncertainty that there is, and says below what its bars or bands are and
which runs were lost.
"""

import importlib
import logging
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from nfe.common.errors import InputError, unknown
from nfe.report.catalogue import FIGURES, FORMATS, available
from nfe.report.figures import style
from nfe.report.figures.data import FigureData, read, read_table

# It tells of each font that it makes smaller.
logging.getLogger("fontTools").setLevel(logging.WARNING)

# Figures that a file draws besides the one of its own name.
_FURTHER = {"exit_places": ("exits", "draw_places")}
_DPI = 300
# What a user's own matplotlibrc says plays no part.
_RC: Any = {**dict(mpl.rcParamsDefault), **style.RC, "backend": "agg"}
# Same files, same bytes: no dates, and no version of what draws.
_UNDATED: dict[str, dict[str, str | None]] = {
    "png": {"Software": None},
    "svg": {"Date": None, "Creator": None},
    "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
}


def drawer(name: str) -> Callable[[FigureData], Figure]:
    """Return what draws a figure; some need PyTorch, so only its own file is loaded."""
    file, function = _FURTHER.get(name, (name, "draw"))
    module = importlib.import_module(f"nfe.report.figures.{file}")
    return partial(drawn, getattr(module, function))


def drawn(function: Callable[..., Figure], *material: Any) -> Figure:
    """Return what a function draws of its arguments, in the style of all figures."""
    with mpl.rc_context(_RC):
        figure = function(*material)
        # Once, not again for every format.
        figure.draw_without_rendering()
        figure.set_layout_engine("none")
        return figure


def names_of(runs: Path) -> list[str]:
    """Return the figures that the runs of a runs.csv make up.

    Raises:
        InputError: the file is missing or no table of runs.
    """
    return available({group for cell in read_table(runs)["groups"] for group in cell.split("/")})


def draw(name: str, runs: Path, folder: Path, formats: Iterable[str] = FORMATS) -> None:
    """Draw one figure from runs.csv and what stands beside it; write it in each of the formats.

    Raises:
        InputError: there is no figure of that name, or no run for it.
    """
    if name not in FIGURES:
        raise unknown("figure", name, FIGURES)
    material = read(runs, FIGURES[name])
    write(drawer(name)(material), folder / name, formats)


def write(figure: Figure, place: Path, formats: Iterable[str] = FORMATS) -> None:
    """Write a drawn figure in each of the formats, whose names follow that of ``place``."""
    with mpl.rc_context(_RC):
        for kind in formats:
            _save(figure, place.with_name(f"{place.name}.{kind}"), kind)
    plt.close(figure)


def draw_all(runs: Path, folder: Path, names: Iterable[str] = ()) -> list[str]:
    """Draw some figures of a suite, unless named all that it has; return which.

    Raises:
        InputError: the suite has none of the groups that figures are of; see ``draw``.
    """
    chosen = list(names) or names_of(runs)
    if not chosen:
        groups = ", ".join(first for first, *_ in FIGURES.values())
        raise InputError(f"{runs}: no figure is of its runs: allowed: runs of group {groups}")
    for name in chosen:
        draw(name, runs, folder)
    return chosen


def _save(figure: Figure, path: Path, kind: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp")
    figure.savefig(temporary, format=kind, dpi=_DPI, metadata=_UNDATED[kind])
    temporary.replace(path)
