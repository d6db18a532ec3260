"""BEED (Lee & Lee, ACCV 2022): exit-ensemble distillation that favours the deeper exits."""

from dataclasses import dataclass
from typing import ClassVar, Self

from nfe.backbones import Architecture
from nfe.common.errors import InputError
from nfe.common.settings import Coefficient, Positive
from nfe.method.settings import Settings


@dataclass(frozen=True)
class BeedSettings(Settings):
    """Exits after the stages, distilled from a weighted mean, in balance with their labels.

    Attributes:
        importance: β, how much more a deeper exit counts in the teacher.
        balance: A, how much more a shallower exit follows the teacher than the labels.
        features: coefficient of the feature term.
        temperature: T of the distillation term.
    """

    published: ClassVar = {
        "batch_size": 128,
        "epochs": 200,
        "nesterov": False,
        "schedule": "step",
        "milestones": (0.375, 0.65, 0.9),
        "decay": 0.1,
    }
    costless: ClassVar = frozenset({"importance", "balance", "features", "temperature"})

    importance: Positive = 1.6
    balance: Positive = 1.15
    features: Coefficient = 0.1
    temperature: Positive = 3.0

    def resolved(self, architecture: Architecture) -> Self:
        """Check that exits can leave between stages, and that each follows its labels."""
        architecture.require_stages()
        most = 2 ** (1 / (architecture.stages - 1))
        if self.balance > most:
            raise InputError(
                f"balance is {self.balance}: allowed: above 0 up to {most:.4g}, where the first "
                f"of {architecture.stages} exits no longer follows its labels"
            )
        return self
