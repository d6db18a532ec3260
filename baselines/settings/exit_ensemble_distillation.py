"""Exit-ensemble distillation (Lee & Lee, arXiv 2104.00299): every exit learns from their mean."""

from dataclasses import dataclass
from typing import ClassVar, Literal, Self

from nfe.backbones import Architecture
from nfe.common.settings import Coefficient
from nfe.method.settings import Settings


@dataclass(frozen=True)
class ExitEnsembleDistillationSettings(Settings):
    """The full network with exits after its stages, all distilled from the exits' mean.

    Attributes:
        output: how logits are distilled: ``mse`` or ``kl``.
        features: coefficient of the feature term.
    """

    published: ClassVar = {
        "batch_size": 128,
        "epochs": 200,
        "nesterov": False,
        "schedule": "step",
        "milestones": (0.375, 0.65, 0.9),
        "decay": 0.1,
    }
    costless: ClassVar = frozenset({"features"})

    output: Literal["mse", "kl"] = "mse"
    features: Coefficient = 1.0

    def resolved(self, architecture: Architecture) -> Self:
        """Check that exits can leave between stages."""
        architecture.require_stages()
        return self
