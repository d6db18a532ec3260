"""Networks of one's own by name: of libraries, of cards, and of packages that register them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache, partial
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nfe.backbones import card as cards
from nfe.backbones.architecture import Architecture
from nfe.backbones.description import LIBRARIES, Description, check_here, library_of, source
from nfe.backbones.known_stages import known_stages
from nfe.common.errors import InputError

if TYPE_CHECKING:
    from nfe.backbones.backbone import Backbone

GROUP = "nfe_bench.architectures"


def find(name: str) -> Architecture | None:
    """Return the network of one's own called ``name``; None where there is none.

    Raises:
        InputError: it is a library's whose stages are not known, or a card or package is wrong.
    """
    if ":" in name:
        return described(name, _of_library(name))
    if name in _registered():
        return _of_package(name)
    if cards.place(name).exists():
        return described(name, cards.read(cards.place(name)).description())
    return None


def names() -> list[str]:
    """Return the names of networks of one's own: of packages, and of the project's cards."""
    return [*sorted(_registered()), *cards.names()]


@cache
def _registered() -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=GROUP)}


def _of_library(network: str) -> Description:
    found = source(network)
    stages = known_stages(network)
    if found is None or found[0] not in LIBRARIES or stages is None:
        short = re.sub(r"[^a-z0-9]+", "-", network.partition(":")[2].lower()).strip("-")
        raise InputError(
            f"architecture {network!r}: where its stages begin is not known: allowed: a card of "
            f"it, by nfe-bench new architecture {short} --network {network}"
        )
    return Description(network, library_of(network), stages)


def described(name: str, description: Description) -> Architecture:
    """Return the architecture that a description is of."""
    return Architecture(
        name,
        len(description.stages),
        partial(_build, name, description, weighted=True),
        record=description.record(),
        blank=partial(_build, name, description, weighted=False),
    )


def recorded(name: str, record: Mapping[str, Any]) -> Architecture:
    """Return the architecture that the identity of a run tells.

    Raises:
        InputError: it tells none.
    """
    if "package" in record:
        stages = record.get("stages")
        if not isinstance(stages, int):
            raise InputError(f"network is {record!r}: not a network's record")
        return Architecture(name, stages, partial(_build_registered, name, record), record=record)
    return described(name, Description.from_record(record))


def architecture_from_card(path: Path) -> Architecture:
    """Return a card's architecture: what a package registers under ``nfe_bench.architectures``.

    Pretrained weights are looked for beside the card.

    Raises:
        InputError: see ``nfe.backbones.card.read``.
    """
    card = cards.read(path)
    weights = None if card.pretrained is None else path.parent / card.pretrained
    made = described(card.name, card.description())
    built = partial(_build, card.name, card.description(), weighted=True, weights=weights)
    return Architecture(card.name, made.stages, built, made.record, made.blank)


def check_available(name: str, record: Mapping[str, Any]) -> None:
    """Check, without making it, that the network of a run's identity can be made here.

    Raises:
        InputError: its library or package is of another version, or its weights are not here.
    """
    if "package" in record:
        _check_registered(name, record)
        return
    description = Description.from_record(record)
    check_here(description, None if description.weights is None else _weights(name))


def _of_package(name: str) -> Architecture:
    found = _load(name)
    if found.record:
        return found
    owner = _registered()[name].dist
    package = "unknown" if owner is None else f"{owner.name} {owner.version}"
    record = {"package": package, "stages": found.stages}
    return Architecture(name, found.stages, found.factory, record, found.blank)


def _load(name: str) -> Architecture:
    point = _registered()[name]
    try:
        found = point.load()
    except (ImportError, AttributeError) as error:
        raise InputError(
            f"architecture {name!r}: {point.value} cannot be imported "
            f"({type(error).__name__}: {error})"
        ) from None
    if not isinstance(found, Architecture) or found.name != name:
        raise InputError(
            f"architecture {name!r}: {point.value}: allowed: an Architecture of that name"
        )
    return found


def _build_registered(name: str, record: Mapping[str, Any], **size: Any) -> Backbone:
    return _check_registered(name, record).factory(**size)


def _check_registered(name: str, record: Mapping[str, Any]) -> Architecture:
    found = find(name)
    if found is None or found.record != record:
        here = "none" if found is None else found.record.get("package", found.record)
        raise InputError(
            f"architecture {name!r} is of {record['package']}: {here} is installed: allowed: "
            f"that version"
        )
    return found


def _build(
    name: str, description: Description, *, weighted: bool, weights: Path | None = None, **size: Any
) -> Backbone:
    """Build what a description says; it is imported when the first network is made."""
    from nfe.backbones.building import build

    if not weighted or description.weights is None:
        return build(name, description, None, **size)
    return build(name, description, weights or _weights(name), **size)


def _weights(name: str) -> Path:
    """Return where the pretrained weights of a network stand here."""
    if name in _registered():
        place = getattr(_load(name).factory, "keywords", {}).get("weights")
        if isinstance(place, Path):
            return place
    elif cards.place(name).exists() and (stated := cards.read(cards.place(name)).pretrained):
        return Path(stated)
    raise InputError(
        f"architecture {name!r}: it begins with pretrained weights, and no card says where they "
        f"are: allowed: {cards.place(name)}"
    )
