"""What can be said of a method before anything is computed: settings, recipe, version.

Nothing here imports PyTorch: thousands of runs are planned without it.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any, ClassVar, Self

from nfe.backbones import Architecture
from nfe.common import settings
from nfe.common.errors import InputError, unknown
from nfe.method.checks import check_class


@dataclass(frozen=True)
class Settings:
    """Base of every method's settings. Subclasses are frozen dataclasses: their fields.

    A field's type says what it takes (see ``nfe.common.settings``); it is checked wherever an
    object is made.

    Attributes:
        version: raised whenever the method's arithmetic changes on purpose; part of the identity
            of its runs.
        published: what the method's own paper changes in the recipe, plus ``epochs``.
        published_settings: settings in which the paper departs from the class's defaults.
        costless: names of settings that change nothing of what a run takes.
    """

    version: ClassVar[int] = 1
    published: ClassVar[Mapping[str, Any]] = {}
    published_settings: ClassVar[Mapping[str, Any]] = {}
    costless: ClassVar[frozenset[str]] = frozenset()

    def __post_init__(self) -> None:
        """Check every setting.

        Raises:
            InputError: a value is not allowed.
        """
        settings.check(self)

    def changes_nothing(self) -> frozenset[str]:
        """Return the names of settings that change nothing of what this run takes."""
        return self.costless

    @classmethod
    def from_settings(cls, values: Mapping[str, Any]) -> Self:
        """Return the method with ``values`` as settings, converted to the fields' types."""
        return cls(**settings.parse(cls, values, "setting of the method"))

    def resolved(self, architecture: Architecture) -> Self:
        """Return the settings with every default spelled out for ``architecture``.

        Raises:
            InputError: the settings and the architecture do not fit.
        """
        return self

    def settings(self) -> dict[str, Any]:
        """Return the settings as JSON values."""
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return {k: list(v) if isinstance(v, tuple) else v for k, v in values.items()}

    def ensemble_size(self) -> int | None:
        """Return how many members a prediction has; None where the settings do not say."""
        told = self.settings()
        members = told.get("members") or told.get("exits")
        return members if isinstance(members, int) else None

    def trainings(self) -> int:
        """Return how many times a run of this method takes its epochs, one after the other."""
        return 1


@dataclass(frozen=True)
class CombinesRuns(Settings):
    """A method that trains nothing itself but combines several runs of another.

    Attributes:
        member_method: the other one.
    """

    member_method: ClassVar[str]

    def member_seeds(self, seed: int) -> list[int]:
        """Return the seeds of the runs of ``member_method`` that replicate ``seed`` combines."""
        raise NotImplementedError

    def member_settings(self) -> dict[str, Any]:
        """Return the settings of those runs, by name; all others are their method's defaults."""
        return {}


@cache
def _points(group: str) -> tuple[EntryPoint, ...]:
    """Return a group's entry points, which are read from the files of all installed packages."""
    return tuple(entry_points(group=group))


def method_names() -> list[str]:
    """Return the names of the registered methods (entry points ``nfe_bench.methods``)."""
    return sorted(point.name for point in _points("nfe_bench.methods"))


@cache
def settings_class(name: str) -> type[Settings]:
    """Return the settings of the method registered under ``name``.

    Of entry point group ``nfe_bench.settings``, or else the method's class itself, which then
    declares them.

    Raises:
        InputError: no method has that name, or its class is not as it must be.
    """
    found = _named("nfe_bench.settings", name) or registered(name)
    loaded = load(name, found[0])
    if not (isinstance(loaded, type) and issubclass(loaded, Settings)):
        raise InputError(f"method {name!r}: {found[0].value}: allowed: a subclass of Settings")
    check_class(loaded)
    return loaded


def registered(name: str) -> list[EntryPoint]:
    """Return the entry points of a method.

    Raises:
        InputError: there is none.
    """
    if found := _named("nfe_bench.methods", name):
        return found
    raise unknown("method", name, method_names())


def _named(group: str, name: str) -> list[EntryPoint]:
    return [point for point in _points(group) if point.name == name]


def load(name: str, point: EntryPoint) -> Any:
    """Return what the entry point of the method called ``name`` stands for.

    Raises:
        InputError: it cannot be imported.
    """
    try:
        return point.load()
    except (ImportError, AttributeError) as error:
        raise InputError(
            f"method {name!r}: {point.value} cannot be imported ({type(error).__name__}: {error})"
        ) from None


def combined_method(settings: Settings | type[Settings]) -> str | None:
    """Return the name of the method whose runs are combined; None where a run trains itself."""
    kind = settings if isinstance(settings, type) else type(settings)
    return kind.member_method if issubclass(kind, CombinesRuns) else None


def settings_of_members(settings: CombinesRuns) -> Settings:
    """Return the settings of the runs that are combined; needs no architecture.

    Raises:
        InputError: their method does not take the settings that are passed on to it.
    """
    return settings_class(settings.member_method).from_settings(settings.member_settings())
