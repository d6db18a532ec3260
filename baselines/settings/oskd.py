"""Online subclass knowledge distillation (Tzelepi et al., ICPR 2020): images teach their likes."""

from dataclasses import dataclass
from typing import ClassVar

from nfe.common.settings import Coefficient, Count, Positive
from nfe.method.settings import Settings


@dataclass(frozen=True)
class OskdSettings(Settings):
    """One network; each image's teacher are the images of its class that are nearest to it.

    Attributes:
        neighbours: how many images of the same class teach an image.
        distillation: coefficient of the distillation term.
        temperature: T of the distillation term.
    """

    published: ClassVar = {"batch_size": 128, "epochs": 200}
    costless: ClassVar = frozenset({"neighbours", "distillation", "temperature"})

    neighbours: Count = 3
    distillation: Coefficient = 1.0
    temperature: Positive = 3.0
