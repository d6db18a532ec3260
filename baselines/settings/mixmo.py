"""MixMo (Ramé et al., ICCV 2021): two inputs, mixed as features, and two outputs."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

from annotated_types import Interval

from nfe.common.settings import Count, Positive
from nfe.method.settings import Settings


@dataclass(frozen=True)
class MixMoSettings(Settings):
    """Two images per row, mixed behind their stems, each to be told by its own output.

    Attributes:
        repetition: how often each image of the batch is used per step; the rows of a step
            are ``repetition`` × the batch size.
        patch: probability of mixing a batch by patches (Cut-MixMo) instead of linearly.
        alpha: α of the mixing ratio's distribution Beta(α, α).
        root: r of the loss weights.
    """

    published: ClassVar = {
        "batch_size": 16,
        "epochs": 300,
        "lr": 0.0125,
        "weight_decay": 6e-4,
        "schedule": "step",
        "milestones": (101 / 300, 201 / 300, 226 / 300),
        "decay": 0.1,
        "warmup": 1,
    }
    costless: ClassVar = frozenset({"patch", "alpha", "root"})

    repetition: Count = 4
    patch: Annotated[float, Interval(ge=0, le=1)] = 0.5
    alpha: Positive = 2.0
    root: Positive = 3.0
