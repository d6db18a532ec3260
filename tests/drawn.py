"""A figure's SVG, read back by its tick labels alone: where each mark stands, in data units."""

import itertools
import math
import re
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np

_SVG = "{http://www.w3.org/2000/svg}"
_UNITS = {"k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15}


def _parse(path: Path) -> ET.Element:
    builder = ET.TreeBuilder(insert_comments=True)
    return ET.parse(path, ET.XMLParser(target=builder)).getroot()  # our own files


def _texts(element: ET.Element) -> list[str]:
    """Return the text that Matplotlib writes beside outlines of letters."""
    found = (node.text or "" for node in element.iter() if node.tag is ET.Comment)
    return [text.strip().replace("\N{MINUS SIGN}", "-") for text in found]


def _number(text: str) -> float:
    digits, _, unit = text.replace("\N{NO-BREAK SPACE}", " ").partition(" ")
    return float(digits) * _UNITS.get(unit, 1)


def _groups(element: ET.Element, prefix: str) -> Iterator[ET.Element]:
    return (node for node in element.iter(f"{_SVG}g") if node.get("id", "").startswith(prefix))


def _points(path: str) -> list[tuple[float, float]]:
    return [(float(x), float(y)) for x, y in re.findall(r"[ML] (\S+) (\S+)", path)]


class Scale:
    """From a coordinate of the drawing to a value, by the nearest two ticks."""

    def __init__(self, ticks: list[tuple[float, float]], kind: str, cut: float | None) -> None:
        self.ticks, self.kind, self.cut = sorted(ticks), kind, cut

    def _straight(self, value: float) -> float:
        if self.kind == "log":
            return math.log(value)
        return -math.log(1 - value) if self.kind == "left" else value

    def _back(self, value: float) -> float:
        if self.kind == "log":
            return math.exp(value)
        return 1 - math.exp(-value) if self.kind == "left" else value

    def __call__(self, place: float) -> float:
        side = [
            t for t in self.ticks if self.cut is None or (t[0] < self.cut) == (place < self.cut)
        ]
        if len(side) < 2:
            # The lines of a list have names, not numbers.
            return math.nan
        (a, low), (b, high) = sorted(side, key=lambda tick: abs(tick[0] - place))[:2]
        first, second = self._straight(low), self._straight(high)
        return self._back(first + (place - a) / (b - a) * (second - first))


class Panel:
    """One of a figure's axes.

    Attributes:
        number: from 1, as in the SVG.
        x: scale.
        y: scale; of a panel that shares it, the one of the first panel in its row.
        label: the x axis' label.
    """

    def __init__(self, element: ET.Element, before: "list[Panel]") -> None:
        self.element = element
        self.number = int(element.get("id", "").removeprefix("axes_"))
        box = _points(next(element.iter(f"{_SVG}path")).get("d", ""))
        self.top = min(y for _, y in box)
        self.label = self._label("x")
        cuts = [y for group in _groups(element, "cut") for _, y in _uses(group)]
        self.cut = float(np.mean(cuts)) if cuts else None
        self.x = self._scale("x", None)
        self.y = self._scale("y", self.cut)
        if len(self.y.ticks) < 2:
            row = [p for p in before if abs(p.top - self.top) < 1 and len(p.y.ticks) > 1]
            self.y = row[0].y if row else self.y

    def _axis(self, name: str) -> Iterator[ET.Element]:
        # Axes count on within a figure: the first of a panel is x, the second y.
        axes = [
            group for group in self.element if group.get("id", "").startswith("matplotlib.axis")
        ]
        return iter(axes[:1] if name == "x" else axes[1:2])

    def _label(self, name: str) -> str:
        labels = (g for axis in self._axis(name) for g in axis)
        texts = (_texts(g) for g in labels if not g.get("id", "").startswith(f"{name}tick"))
        return " ".join(itertools.chain.from_iterable(texts))

    def _scale(self, name: str, cut: float | None) -> Scale:
        ticks, words = [], ""
        for axis in self._axis(name):
            words = self._label(name)
            for group in _groups(axis, f"{name}tick"):
                labels, places = _texts(group), _uses(group)
                if labels and places and re.match(r"-?[\d.]+( [kMGTP])?$", labels[0]):
                    ticks.append((places[0][name == "y"], _number(labels[0])))
        kind = "left" if "share that is left" in words else "log" if "(log)" in words else ""
        return Scale(ticks, kind, cut)

    def marks(self, prefix: str = "mark:") -> dict[str, list[tuple[float, float]]]:
        """Return x and y of the marks of each group whose name begins so, by the rest of it.

        A mark that is half filled is drawn in two halves at the same place.
        """
        return {
            group.get("id", "").removeprefix(prefix).rpartition("@")[0]: [
                (self.x(x), self.y(y)) for x, y in dict.fromkeys(_uses(group))
            ]
            for group in _groups(self.element, prefix)
        }

    def line(self, prefix: str) -> list[tuple[float, float]]:
        """Return x and y of the corners of the line whose name begins so; none without one."""
        for group in _groups(self.element, prefix):
            path = next(group.iter(f"{_SVG}path")).get("d", "")
            return [(self.x(x), self.y(y)) for x, y in _points(path)]
        return []

    def bars(self) -> dict[int, float]:
        """Return the height of each bar of a reliability diagram, by its bin."""
        found = {}
        for path in self.element.iter(f"{_SVG}g"):
            if path.get("id", "").startswith("bin"):
                corners = _points(next(path.iter(f"{_SVG}path")).get("d", ""))
                name = path.get("id", "").removeprefix("bin").partition("@")[0]
                found[int(name)] = self.y(min(y for _, y in corners))
        return found


def _uses(element: ET.Element) -> list[tuple[float, float]]:
    found = element.iter(f"{_SVG}use")
    return [(float(u.get("x", "nan")), float(u.get("y", "nan"))) for u in found if u.get("x")]


class Drawing:
    """A figure's SVG.

    Attributes:
        panels: its axes, in their order.
        words: all that is written in it.
    """

    def __init__(self, path: Path) -> None:
        drawing = _parse(path)
        self.panels: list[Panel] = []
        # Strips above panels are axes within axes.
        for group in next(_groups(drawing, "figure_1")):
            if re.fullmatch(r"axes_\d+", group.get("id", "")):
                self.panels.append(Panel(group, self.panels))
        self.words = " ".join(_texts(drawing)).replace("\N{NO-BREAK SPACE}", " ")
