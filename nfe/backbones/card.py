"""The card of a network of one's own: a YAML file, ``config/architectures/NAME.yaml``.

``nfe-bench new architecture`` writes it once the network was made and cut into stages, so that
suites are planned without making it again.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import yaml
from pydantic import ConfigDict, TypeAdapter

from nfe.backbones.description import Description, Head, source
from nfe.common.cards import read_card, unless_changed
from nfe.common.errors import InputError
from nfe.common.files import write_bytes

FOLDER = Path("config/architectures")

_HEADER = """\
# A network, as nfe-bench new architecture made it and cut it into stages. All of this but the path
# of the pretrained weights is part of every run's identity.
"""


@dataclass(frozen=True)
class NetworkCard:
    """What the file says.

    Attributes:
        name: the name used in configurations.
        network: ``torchvision:NAME``, ``timm:NAME``, ``package.module:function`` or one of the
            suite's own.
        library: what makes it, and its version.
        stages: names of the modules that begin a stage.
        settings: keywords that it is made with.
        pretrained: path of a file of weights, from the working directory.
        sha256: that file's SHA-256.
        head: with such a file, whether the classifier is ``drawn`` or ``loaded``, too.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    name: str
    network: str
    library: str
    stages: tuple[str, ...]
    settings: dict[str, Any] = field(default_factory=dict)
    pretrained: str | None = None
    sha256: str | None = None
    head: Head = "drawn"

    def description(self) -> Description:
        """Return what decides the network."""
        return Description(
            self.network, self.library, self.stages, self.settings, self.sha256, self.head
        )


_CARD = TypeAdapter(NetworkCard)


def write(path: Path, card: NetworkCard) -> None:
    """Write a card as YAML, what is not given left out."""
    values = _CARD.dump_python(card, mode="json", exclude_defaults=True)
    text = yaml.safe_dump(values, sort_keys=False, allow_unicode=True, default_flow_style=None)
    write_bytes(path, (_HEADER + text).encode())


@unless_changed
def read(path: Path) -> NetworkCard:
    """Read a card.

    Raises:
        InputError: it is no card; the message names the file.
    """
    card = read_card(path, _CARD)
    if not card.stages:
        raise InputError(f"{path}: stages is []: allowed: names of modules")
    if (card.pretrained is None) != (card.sha256 is None):
        raise InputError(f"{path}: pretrained and sha256: allowed: both or none")
    try:
        source(card.network)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    return card


def place(name: str) -> Path:
    """Return where a card stands: beside the suites of the project, the working directory."""
    return FOLDER / f"{name}.yaml"


def names() -> list[str]:
    """Return the names of the project's own networks."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))
