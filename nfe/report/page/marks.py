"""Marks on the page: colour, shape, fill and size as in the figures."""

from typing import Any

from matplotlib.markers import MarkerStyle
from matplotlib.path import Path

from nfe.report.figures import style
from nfe.report.tables import Row

# Of a mark in the figures, in points; on the page sizes are relative to it.
_SIZE = float(style.member_style("single", 1)["markersize"])
_LETTERS = {
    int(Path.MOVETO): "M",
    int(Path.LINETO): "L",
    int(Path.CURVE3): "Q",
    int(Path.CURVE4): "C",
}


def of(row: Row) -> dict[str, Any]:
    """Return a setting's mark: colour, shape, fill, relative size, whether it has an edge."""
    return _mark(style.member_style(row["method"], float(row["members"] or 1), row["settings"]))


def name(row: Row) -> str:
    """Return what a setting's mark stands for: settings that differ in other things share it."""
    return style.name(row["method"], float(row["members"] or 1), row["settings"])


def of_method(method: str) -> dict[str, Any]:
    """Return the mark of a method, whatever its settings."""
    return _mark(style.member_style(method, 1))


def of_pruner(name: str) -> dict[str, Any]:
    """Return the mark of a kind of pruning."""
    return _mark(style.pruner(name))


def numbered(count: int) -> list[dict[str, Any]]:
    """Return the marks of values that have none of their own, by their place."""
    return [_mark(style.numbered(place)) for place in range(count)]


def _mark(look: dict[str, Any]) -> dict[str, Any]:
    return {
        "colour": look["color"],
        "shape": outline(look["marker"]),
        "fill": look.get("fillstyle", "full"),
        "size": round(look.get("markersize", _SIZE) / _SIZE, 3),
        "edge": "markeredgecolor" in look,
    }


def outline(marker: str) -> str:
    """Return a Matplotlib mark as an SVG path in the square from -1 to 1, y downwards."""
    drawn = MarkerStyle(marker)
    path = drawn.get_path().transformed(drawn.get_transform())
    parts = []
    for points, code in path.iter_segments(simplify=False):
        if code == Path.CLOSEPOLY:
            parts.append("Z")
            continue
        # + 0: no negative zero.
        numbers = [
            f"{round(2 * float(value) * sign, 3) + 0:g}"
            for value, sign in zip(points, (1, -1) * (len(points) // 2), strict=True)
        ]
        parts.append(_LETTERS[int(code)] + " ".join(numbers))
    return "".join(parts)
