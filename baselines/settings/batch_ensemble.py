"""BatchEnsemble (Wen et al., ICLR 2020): shared weights, a rank-one factor per member."""

import dataclasses
from dataclasses import dataclass
from typing import ClassVar, Self

from nfe.backbones import Architecture
from nfe.common.errors import InputError
from nfe.common.settings import Count, Positive
from nfe.method.settings import Settings


@dataclass(frozen=True)
class BatchEnsembleSettings(Settings):
    """One set of weights; members differ by the factors r and s of every layer.

    Attributes:
        members: number of members M.
        repetition: how often each image of the batch is used per step (default: M, every
            member sees every image); the rows of a step, ``repetition`` × the batch size, are
            divided evenly over the members.
        init: below 0: r and s are drawn from N(1, |init|); above: +1 with probability
            ``init``, else −1.
        fast_gradient: factor of the gradient of r, s and the biases.
    """

    # 2: factors in the activations' type under bfloat16 and float16.
    version: ClassVar = 2
    published: ClassVar = {
        "batch_size": 128,
        "epochs": 250,
        "weight_decay": 6e-4,
        "schedule": "step",
        "milestones": (0.4, 0.8, 0.9),
        "decay": 0.2,
        "warmup": 1,
    }
    published_settings: ClassVar = {"members": 4}

    members: Count = 3
    repetition: Count | None = None
    init: float = -0.5
    fast_gradient: Positive = 0.5

    def __post_init__(self) -> None:
        """Check the settings, alone and together."""
        super().__post_init__()
        if not (self.init < 0 or 0 < self.init <= 1):
            raise InputError(f"init is {self.init}: allowed: numbers below 0, or (0, 1]")
        if self.repetition is not None and self.repetition > self.members:
            raise InputError(
                f"repetition is {self.repetition}: allowed: whole numbers from 1 to "
                f"{self.members}, the members"
            )

    def resolved(self, architecture: Architecture) -> Self:
        """Spell out the repetition."""
        return dataclasses.replace(self, repetition=self.repetition or self.members)

    costless: ClassVar = frozenset({"init", "fast_gradient"})
