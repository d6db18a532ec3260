"""Lists of fractions in a suite, as Python and config.json write them: [0.3, 0.7] is one value."""

from collections.abc import Iterable, Mapping
from typing import Any

from nfe.common.settings import is_fractions, kinds
from nfe.method.settings import settings_class

Entry = Mapping[str, Any]


def as_text(entry: Entry, nested: Iterable[str]) -> dict[str, Any]:
    """Return an entry in which a list of numbers is one value of a setting that is such a list.

    ``ratio: [0.3, 0.7]`` is ``0.3/0.7``; a list of such lists offers each of them. Only settings
    of fractions are meant: of whole numbers, ``[1, 2]`` offers two values, as any other list does.

    Args:
        entry: an entry of a group.
        nested: its keys whose values are lists of further entries.

    Raises:
        InputError: a method does not exist.
    """
    inner = {key: entry[key] for key in nested if key in entry}
    names = _settings(entry, *(changes for listed in inner.values() for changes in listed))
    return {
        **_written(entry, names),
        **{key: [_written(changes, names) for changes in listed] for key, listed in inner.items()},
    }


def _written(entry: Entry, names: set[str]) -> dict[str, Any]:
    return {
        key: _value(value) if key in names and isinstance(value, list) else value
        for key, value in entry.items()
    }


def _value(given: list[Any]) -> Any:
    if _numbers(given):
        return _joined(given)
    return [_joined(part) if _numbers(part) else part for part in given]


def _numbers(values: Any) -> bool:
    return (
        isinstance(values, list)
        and bool(values)
        and all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in values)
    )


def _joined(values: list[float]) -> str:
    return "/".join(str(value) for value in values)


def _settings(*entries: Entry) -> set[str]:
    """Return the names of the settings of the entries' methods that are lists of fractions."""
    named = [entry["method"] for entry in entries if "method" in entry]
    methods = {m for names in named for m in ([names] if isinstance(names, str) else names)}
    return {
        name
        for method in methods
        for name, kind in kinds(settings_class(method)).items()
        if is_fractions(kind)
    }
