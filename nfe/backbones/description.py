"""What a network of one's own is made from: known, and part of a run's identity, without PyTorch.

``torchvision:NAME``, ``timm:NAME``, ``package.module:function``, or the name of one of the suite's
own networks (there for the sake of pretrained weights).
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import invalidate_caches, metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

from nfe.common.errors import InputError
from nfe.common.files import checksum

LIBRARIES = ("torchvision", "timm")
_FUNCTION = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")

Head = Literal["drawn", "loaded"]


@dataclass(frozen=True)
class Description:
    """What decides a network's layers and its initial weights, but for the seed.

    Attributes:
        network: where it comes from.
        library: what makes it, and its version (see ``library_of``); empty for the suite's own.
        stages: names of the modules that begin a stage (see ``nfe.backbones.stages.staged``).
        settings: keywords that it is made with.
        weights: SHA-256 of the file of pretrained weights; None for none.
        head: with such a file, whether the classifier is drawn or loaded from it, too.
    """

    network: str
    library: str
    stages: tuple[str, ...]
    settings: Mapping[str, Any] = field(default_factory=dict)
    weights: str | None = None
    head: Head = "drawn"

    def record(self) -> dict[str, Any]:
        """Return it as JSON values; settings and weights only where there are any."""
        told: dict[str, Any] = {"network": self.network, "library": self.library}
        told["stages"] = list(self.stages)
        if self.settings:
            told["settings"] = dict(self.settings)
        if self.weights is not None:
            told["pretrained"] = {"sha256": self.weights, "head": self.head}
        return told

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Description:
        """Return what ``record`` told.

        Raises:
            InputError: it is no such record.
        """
        try:
            pretrained = record.get("pretrained", {})
            return cls(
                network=record["network"],
                library=record["library"],
                stages=tuple(record["stages"]),
                settings=dict(record.get("settings", {})),
                weights=pretrained.get("sha256"),
                head=pretrained.get("head", "drawn"),
            )
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise InputError(f"network is {record!r}: not a network's record ({error})") from None


def source(network: str) -> tuple[str, str] | None:
    """Return library or module, and the name in it; None for a name without ``:``.

    Raises:
        InputError: it has a colon and is neither.
    """
    if ":" not in network:
        return None
    home, _, name = network.partition(":")
    if home in LIBRARIES and re.fullmatch(r"[\w.-]+", name):
        return home, name
    if home not in LIBRARIES and _FUNCTION.fullmatch(network):
        return home, name
    raise InputError(
        f"network {network!r}: allowed: torchvision:NAME, timm:NAME, package.module:function, or "
        f"one of the suite's own names"
    )


def library_of(network: str) -> str:
    """Return what makes a network here, and its version: ``torchvision 0.27.1``.

    A module that belongs to no installed package is told by its file's SHA-256; empty for the
    suite's own networks, whose changes raise the engine's version.

    Raises:
        InputError: library or module are not installed.
    """
    if (found := source(network)) is None:
        return ""
    home, _ = found
    if home in LIBRARIES:
        return f"{home} {_version(home)}"
    owners = metadata.packages_distributions().get(home.partition(".")[0], [])
    if owners:
        return f"{owners[0]} {_version(owners[0])}"
    return f"{home} sha256:{checksum(_file(home))}"


def check_here(description: Description, weights: Path | None) -> None:
    """Check that what makes a network, and the weights that it begins with, are here.

    Args:
        description: the network.
        weights: the file of pretrained weights; None where they are not needed.

    Raises:
        InputError: another version is here, or other weights.
    """
    here = library_of(description.network)
    if here != description.library:
        raise InputError(
            f"it is of {description.library}, and here is {here}: allowed: that version, or a "
            f"card made again, for other runs"
        )
    if weights is not None and (found := digest(weights)) != description.weights:
        raise InputError(
            f"{weights}: its SHA-256 is {found}: the network begins with the weights of "
            f"{description.weights}"
        )


def digest(path: Path) -> str:
    """Return a file's SHA-256.

    Raises:
        InputError: it cannot be read.
    """
    try:
        return checksum(path)
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from None


def _version(package: str) -> str:
    try:
        # The build (+cpu, +cu128) is no other network.
        return metadata.version(package).partition("+")[0]
    except metadata.PackageNotFoundError:
        raise InputError(
            f'{package} is not installed: allowed: pip install "nfe-bench[{package}]"'
        ) from None


def _file(module: str) -> Path:
    with working_directory_importable():
        try:
            found = find_spec(module)
        except ImportError:
            found = None
    if found is None or found.origin is None or not Path(found.origin).is_file():
        raise InputError(
            f"module {module!r} is neither installed nor a file of the working directory"
        )
    return Path(found.origin)


@contextmanager
def working_directory_importable() -> Iterator[None]:
    """Let modules of the working directory be imported inside a block, as by ``python -m``."""
    here = str(Path.cwd())
    invalidate_caches()
    sys.path.insert(0, here)
    try:
        yield
    finally:
        sys.path.remove(here)
