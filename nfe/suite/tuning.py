"""Tuning: what a search offers each method, and what a suite takes from its outcome.

A suite with the key ``tuning`` offers every method the same quasi-random points of the unit cube:
the first two coordinates are learning rate and weight decay, the next ones the method's own
settings, as many as its entry names. A suite with ``finalists`` offers each method its best points
of such a suite; one with ``tuned`` takes the chosen one.
"""

import dataclasses
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Protocol

from nfe.backbones import architecture
from nfe.common.errors import InputError, unknown
from nfe.common.settings import kinds
from nfe.method.settings import CombinesRuns, combined_method, method_names, settings_class

# The first coordinates of every point, for every method.
RECIPE = ("lr", "weight_decay")
# What a point says besides, where it was not found for the default one.
OPTIMIZER, DEFAULT_OPTIMIZER = "optimizer", "sgd"
# Settings of its own that a method may have tuned; the cube has so many dimensions more.
OWN = 2
SCALES = ("linear", "log")
# Which of Sobol's coordinates (Joe & Kuo's order, from 0) are taken. With the first four, 16 points
# confound the fourth with the first two; with these, any two of the four fill 2 × 8, 4 × 4 and
# 8 × 2 cells with one point each, and all four together their 16 halves.
COORDINATES = (3, 5, 22, 34)
# The keys of a suite of which it may have one.
KINDS = ("tuning", "finalists", "tuned")


@dataclass(frozen=True)
class Point:
    """Values that a method is offered.

    Attributes:
        recipe: fields of the recipe.
        settings: settings of the method.
    """

    recipe: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    settings: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def record(self) -> dict[str, dict[str, Any]]:
        """Return the point as YAML values."""
        return {"recipe": dict(self.recipe), "settings": dict(self.settings)}


class Axis(Protocol):
    """The values that one coordinate of the cube stands for."""

    def at(self, share: float) -> Any:
        """Return the value at a share of the axis, in [0, 1)."""

    def edge(self, value: Any, points: int) -> str:
        """Return in words that a value lies at an edge; empty where it does not."""


@dataclass(frozen=True)
class Range:
    """Numbers from ``low`` to ``high``, evenly spread or evenly in their logarithm."""

    low: float
    high: float
    scale: str

    def __post_init__(self) -> None:
        if self.scale not in SCALES:
            raise unknown("scale", self.scale, SCALES)
        words = f"{self.low:g} to {self.high:g}"
        if not (self.low < self.high and math.isfinite(self.high - self.low)):
            raise InputError(f"range {words}: allowed: low below high")
        if self.scale == "log" and self.low * self.high <= 0:
            raise InputError(f"range {words} with scale log: allowed: ends of one sign, not 0")

    def at(self, share: float) -> float:
        """Return the value at ``share``, rounded to three digits, so that names stay readable."""
        if self.scale == "log":
            value = self.low * (self.high / self.low) ** share
        else:
            value = self.low + share * (self.high - self.low)
        return float(f"{value:.3g}")

    def share(self, value: float) -> float:
        """Return the share of the axis at which a value stands: what ``at`` inverts."""
        if self.scale == "log":
            ratio = value / self.low
            return math.log(ratio) / math.log(self.high / self.low) if ratio > 0 else math.inf
        return (value - self.low) / (self.high - self.low)

    def edge(self, value: Any, points: int) -> str:
        """Return in words that of ``points`` even parts the value lies in the first or last."""
        share = self.share(float(value))
        if 1 / points <= share <= 1 - 1 / points:
            return ""
        end = "low" if share < 0.5 else "high"
        return f"{value:g} at the {end} edge of {self.low:g} to {self.high:g}"


@dataclass(frozen=True)
class Choices:
    """Listed values, each for an equal share of the axis."""

    values: Sequence[Any]

    def at(self, share: float) -> Any:
        """Return the value at ``share``."""
        return self.values[int(share * len(self.values))]

    def edge(self, value: Any, points: int) -> str:
        """Return in words that the value is the first or last of at least three numbers."""
        numbers = all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in self.values)
        if not numbers or len(self.values) < 3 or min(self.values) < value < max(self.values):
            return ""
        listed = ", ".join(f"{v:g}" for v in self.values)
        return f"{value:g} at the {'low' if value <= min(self.values) else 'high'} end of {listed}"


@cache
def cube(points: int) -> tuple[tuple[float, ...], ...]:
    """Return ``points`` quasi-random points of the unit cube, the same ones always.

    Sobol's sequence in the directions of Joe and Kuo (SIAM J. Sci. Comput. 30, 2008), without
    scrambling: the ``points`` that follow its first ``points``. Along each axis they are the
    centres of so many even parts, so no point lies on an edge, and nothing depends on a random
    generator.

    Raises:
        InputError: ``points`` is no power of two, and would leave parts without a point.
    """
    from scipy.stats import qmc

    if points < 2 or points & (points - 1):
        raise InputError(f"points is {points}: allowed: powers of two, from 2")
    sequence = qmc.Sobol(d=max(COORDINATES) + 1, scramble=False)
    drawn = sequence.fast_forward(points).random(points)[:, COORDINATES]
    return tuple(tuple(float(share) for share in point) for point in drawn)


@dataclass(frozen=True)
class Space:
    """What a search offers.

    Attributes:
        points: points of every method.
        recipe: the axes of ``RECIPE``.
        methods: the axes of a method's own settings, at most ``OWN``; a method without an entry
            has none.
    """

    points: int
    recipe: Mapping[str, Axis]
    methods: Mapping[str, Mapping[str, Axis]]

    def own(self, method: str) -> Mapping[str, Axis]:
        """Return the axes of the method's own settings."""
        return self.methods.get(method, {})

    def offered(self, method: str) -> list[Point]:
        """Return the method's points: the same shares of the axes for every method."""
        first = len(RECIPE)
        return [
            Point(_at(self.recipe, shares[:first]), _at(self.own(method), shares[first:]))
            for shares in cube(self.points)
        ]

    def edges(self, method: str, point: Point) -> list[str]:
        """Return in words which values of a point lie at the edge of what was offered."""
        values = {**point.recipe, **point.settings}
        axes = {**self.recipe, **self.own(method)}
        told = {key: axis.edge(values[key], self.points) for key, axis in axes.items()}
        return [f"{method}: {key} {words}" for key, words in told.items() if words]


def _at(axes: Mapping[str, Axis], shares: Sequence[float]) -> dict[str, Any]:
    return {key: axis.at(share) for (key, axis), share in zip(axes.items(), shares, strict=False)}


def space(entry: Mapping[str, Any]) -> Space:
    """Return the space that a suite's key ``tuning`` describes.

    Args:
        entry: its value, which fits the schema.

    Raises:
        InputError: a method or setting does not exist, or a range is none.
    """
    methods = {}
    for name, axes in entry.get("methods", {}).items():
        if name not in method_names():
            raise InputError(f"tuning: {unknown('method', str(name), method_names())}")
        known = list(kinds(settings_class(name)))
        for key in axes:
            if key not in known:
                raise InputError(f"tuning, {name}: {unknown('setting', key, known)}")
        methods[name] = _axes(axes, name)
    recipe = _axes({key: entry["recipe"][key] for key in RECIPE}, "recipe")
    cube(entry["points"])
    return Space(entry["points"], recipe, methods)


def _axes(described: Mapping[str, Any], owner: str) -> dict[str, Axis]:
    axes: dict[str, Axis] = {}
    for key, values in described.items():
        try:
            axes[key] = Choices(values) if isinstance(values, list) else Range(**values)
        except InputError as error:
            raise InputError(f"tuning, {owner}, {key}: {error}") from None
    return axes


class Offers(Protocol):
    """What a suite makes of an entry's combination of values, for its method."""

    def applied(self, choice: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Return the combinations that stand in the place of one."""

    def untuned(self, methods: Iterable[str]) -> list[str]:
        """Return which of these methods run with the default recipe beside tuned ones."""


@dataclass(frozen=True)
class Tuned:
    """The chosen point of each method; what an entry names itself has the last word."""

    points: Mapping[str, Point] = dataclasses.field(default_factory=dict)

    def applied(self, choice: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Return the combination with the method's point behind it, under protocol equal.

        Raises:
            InputError: the point was found for another optimizer than the combination's.
        """
        if choice.get("protocol", "equal") != "equal":
            return [dict(choice)]
        method = choice["method"]
        point = self.points.get(_learner(method), Point())
        _check_optimizer(point, choice)
        return [_with(_passed_on(point, method), choice)]

    def untuned(self, methods: Iterable[str]) -> list[str]:
        """Return the methods without a point, where others have one."""
        if not self.points:
            return []
        return list(dict.fromkeys(m for m in methods if _learner(m) not in self.points))


@dataclass(frozen=True)
class Search:
    """Points of each method, all of them to be tried.

    Attributes:
        points: returns the points of a method.
        found: whether an earlier stage found them, so that they hold for its optimizer alone.
    """

    points: Callable[[str], Sequence[Point]]
    found: bool = False

    def applied(self, choice: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Return the combination at each of the method's points.

        Raises:
            InputError: the entry names a value that is searched for, its method trains nothing
                itself, it would look at the test images, or the points were found for another
                optimizer.
        """
        method = choice["method"]
        if (learner := _learner(method)) != method:
            raise InputError(f"{method} takes the choice of {learner}: allowed: {learner}")
        if (protocol := choice.get("protocol", "equal")) != "equal":
            raise InputError(f"protocol is {protocol!r}: allowed where recipes are tuned: equal")
        if choice.get("audit", False):
            raise InputError("audit is true: a tuning looks at no test image: allowed: false")
        points = self.points(method)
        if self.found:
            for point in points:
                _check_optimizer(point, choice)
        for key in _searched(points):
            if key in choice or key in choice["recipe"]:
                raise InputError(f"{key} is given by the entry and by the tuning: allowed: one")
        return [_with(point, choice) for point in points]

    def untuned(self, methods: Iterable[str]) -> list[str]:
        """Return nothing: here every method is being tuned."""
        return []


def _searched(points: Iterable[Point]) -> list[str]:
    """Return the names of what points offer; the optimizer is told, and not searched for."""
    keys = dict.fromkeys(key for p in points for key in (*p.recipe, *p.settings))
    return [key for key in keys if key != OPTIMIZER]


def _check_optimizer(point: Point, choice: Mapping[str, Any]) -> None:
    found = architecture(choice["architecture"])
    optimizer = choice["recipe"].get(OPTIMIZER, found.optimizer)
    tuned = point.recipe.get(OPTIMIZER, DEFAULT_OPTIMIZER)
    if point.recipe and optimizer != tuned:
        raise InputError(
            f"the tuned recipe of {choice['method']} is for optimizer {tuned!r}, and architecture "
            f"{found.name!r} is trained with {optimizer!r}: allowed: in the suite recipe: "
            f"{{optimizer: {tuned}}}, or what nfe-bench tune writes of runs with {optimizer!r}"
        )


def _learner(method: str) -> str:
    """Return the method whose runs are trained."""
    return combined_method(settings_class(method)) or method


def _passed_on(point: Point, method: str) -> Point:
    """Return what a method takes of its learner's point: all of its own.

    An ensemble of separate runs takes their recipe, and those of their settings that it passes on
    to them: with others it could not share the runs.
    """
    cls = settings_class(method)
    if not issubclass(cls, CombinesRuns):
        return point
    shared = cls().member_settings()
    return Point(point.recipe, {k: v for k, v in point.settings.items() if k in shared})


def _with(point: Point, choice: Mapping[str, Any]) -> dict[str, Any]:
    recipe = {**point.recipe, **choice["recipe"]}
    return {**point.settings, **choice, "recipe": recipe}


def offers(config: Mapping[str, Any], read: Callable[[Path], dict[str, Any]]) -> Offers:
    """Return what a suite's configuration offers its methods.

    Args:
        config: the configuration, which fits the schema.
        read: reads a YAML file.

    Raises:
        InputError: it has more than one of ``KINDS``, or a file of theirs cannot be used.
    """
    kinds = [kind for kind in KINDS if kind in config]
    if len(kinds) > 1:
        raise InputError(f"suite configuration: {' and '.join(kinds)}: allowed: one of them")
    if "tuning" in config:
        return Search(space(config["tuning"]).offered)
    if "finalists" in config:
        return Search(_finalists(config["finalists"], read), found=True)
    if "tuned" in config:
        path = Path(config["tuned"])
        entries = _by_method(read(path), str(path))
        return Tuned({method: _tuned(entry, method, path) for method, entry in entries.items()})
    return Tuned()


def _by_method(entries: dict[str, Any], where: str) -> dict[str, Any]:
    for method in entries:
        if method not in method_names():
            raise InputError(f"{where}: {unknown('method', str(method), method_names())}")
    return entries


def _tuned(entry: Any, method: str, path: Path) -> Point:
    """Return a method's point; a bare recipe is one without settings."""
    if not isinstance(entry, dict):
        raise InputError(f"{path}: {method} is {entry!r}: allowed: a recipe's keys and values")
    if entry and entry.keys() <= {"recipe", "settings"}:
        return _point(entry, f"{path}: {method}")
    return Point(entry)


def _point(entry: Any, where: str) -> Point:
    parts = entry if isinstance(entry, dict) else {}
    good = all(isinstance(part, dict) for part in parts.values())
    if not parts or not good or not parts.keys() <= {"recipe", "settings"}:
        raise InputError(f"{where} is {entry!r}: allowed: recipe and settings, keys and values")
    return Point(**parts)


def _finalists(
    given: str | dict[str, Any], read: Callable[[Path], dict[str, Any]]
) -> Callable[[str], Sequence[Point]]:
    """Return the finalists by method, from a file or as ``Point.record`` describes them."""
    where = given if isinstance(given, str) else "finalists"
    if isinstance(given, str) and not Path(given).exists():
        raise InputError(f"{given}: no such file: nfe-bench tune --finalists makes it")
    entries = _by_method(read(Path(given)) if isinstance(given, str) else given, where)
    points: dict[str, list[Point]] = {}
    for method, listed in entries.items():
        if not isinstance(listed, list) or not listed:
            raise InputError(f"{where}: {method} is {listed!r}: allowed: a list of points")
        points[method] = [_point(entry, f"{where}: {method}") for entry in listed]

    def of(method: str) -> Sequence[Point]:
        if method not in points:
            raise InputError(f"{where}: no finalists of {method}: allowed: {', '.join(points)}")
        return points[method]

    return of
