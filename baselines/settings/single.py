"""The single network: the backbone, trained with the recipe as it is."""

from dataclasses import dataclass
from typing import ClassVar

from nfe.method.settings import Settings


@dataclass(frozen=True)
class SingleSettings(Settings):
    """One backbone, cross-entropy."""

    published: ClassVar = {"batch_size": 128, "epochs": 200}
