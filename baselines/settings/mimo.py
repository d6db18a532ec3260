"""MIMO (Havasi et al., ICLR 2021): several inputs and outputs, one network between them."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

from annotated_types import Interval

from nfe.common.settings import Count
from nfe.method.settings import Settings


@dataclass(frozen=True)
class MimoSettings(Settings):
    """M independently shuffled images per row in training, M times the same one in inference.

    Attributes:
        members: number of members M.
        repetition: how often each image of the batch is used per step; the rows of a step
            are ``repetition`` × the batch size.
        input_repetition: share of the rows in which all members see the same image.
    """

    published: ClassVar = {
        "batch_size": 128,
        "epochs": 250,
        "weight_decay": 6e-4,
        "schedule": "step",
        "milestones": (0.4, 0.8, 0.9),
        "decay": 0.2,
        "warmup": 1,
    }
    costless: ClassVar = frozenset({"input_repetition"})

    members: Count = 3
    repetition: Count = 4
    input_repetition: Annotated[float, Interval(ge=0, le=1)] = 0.0
