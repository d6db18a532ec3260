"""Versions of the arithmetic behind a run: its method's, its pruning's, its data rule's.

A version is raised in the code whenever results change on purpose. At 1 it goes without saying,
so that the identity of a run which nothing has changed stays what it was. A suite may pin earlier
versions by name, to stay verifiable, tabulated and planned as it was made.
"""

from collections.abc import Mapping
from typing import Any

from nfe import data as datasets
from nfe.common.errors import InputError, unknown
from nfe.method.settings import (
    CombinesRuns,
    method_names,
    settings_class,
    settings_of_members,
)
from nfe.pruning import choices as pruning

# What of a run has a version: its method, the method of the runs that it combines, the pruning
# that is in force, and how the data are divided.
KEYS = ("method", "member", "pruning", "data")


def subjects(method: str, settings: Mapping[str, Any], dataset: str) -> dict[str, str]:
    """Return the name of what each key is about, for a run with these settings."""
    found = {"method": method, "data": dataset}
    used = settings
    cls = settings_class(method)
    if issubclass(cls, CombinesRuns):
        found["member"] = cls.member_method
        used = settings_of_members(cls.from_settings(settings)).settings()
    if (name := used.get("pruning", "none")) != "none" and used.get("sparsity") != 0:
        found["pruning"] = name
    return found


def present(name: str) -> int:
    """Return the code's version of a method, a pruning or a data set.

    Raises:
        InputError: there is none of that name.
    """
    if name in method_names():
        return settings_class(name).version
    if name in pruning.names()[1:]:
        return pruning.VERSIONS.get(name, 1)
    if name in datasets.names():
        return max(card.version for card in datasets.dataset(name).cards)
    known = [*method_names(), *pruning.names()[1:], *datasets.names()]
    raise unknown("method, pruning or data set (versions)", name, known)


def check_pins(pins: Mapping[str, int]) -> None:
    """Check that the code has had the versions that a suite pins.

    Raises:
        InputError: a name is unknown, or a version is none of that name's.
    """
    for name, version in pins.items():
        if isinstance(version, bool) or version not in range(1, present(name) + 1):
            raise InputError(
                f"versions: {name} is {version!r}: allowed: whole numbers from 1 to {present(name)}"
            )


def of(
    method: str, settings: Mapping[str, Any], dataset: str, pins: Mapping[str, int]
) -> dict[str, int]:
    """Return the versions above 1 of a run made now, or as pinned."""
    named = subjects(method, settings, dataset)
    found = {key: pins.get(named[key], present(named[key])) for key in KEYS if key in named}
    return {key: version for key, version in found.items() if version > 1}


def of_member(versions: Mapping[str, int]) -> dict[str, int]:
    """Return the versions of the runs that a run with ``versions`` combines."""
    renamed = {**versions, "method": versions.get("member", 1)}
    return {key: renamed[key] for key in KEYS if key != "member" and renamed.get(key, 1) > 1}


def checked(versions: Any) -> dict[str, int]:
    """Return what a record says of versions.

    Raises:
        InputError: it is not what ``of`` returns.
    """
    if not isinstance(versions, dict) or not versions.keys() <= set(KEYS):
        raise InputError(f"versions is {versions!r}: allowed: a mapping with keys of {list(KEYS)}")
    for key, version in versions.items():
        if isinstance(version, bool) or not isinstance(version, int) or version < 2:
            raise InputError(f"versions: {key} is {version!r}: allowed: whole numbers from 2")
    return versions


def outdated(
    method: str, settings: Mapping[str, Any], dataset: str, versions: Mapping[str, int]
) -> list[str]:
    """Return, for each version of a record that is not the code's, in words which it is."""
    named = subjects(method, settings, dataset)
    return [
        f"of {name} version {versions.get(key, 1)}: this code makes version {present(name)}"
        for key, name in named.items()
        if versions.get(key, 1) != present(name)
    ]
