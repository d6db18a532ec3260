"""SWA-Gaussian (Maddox et al., NeurIPS 2019): networks drawn from around the averaged iterate."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

from annotated_types import Ge, Interval

from nfe.common.errors import InputError
from nfe.common.settings import Coefficient, Count, Share
from nfe.method.settings import Settings

Number = Annotated[int, Ge(2)]


@dataclass(frozen=True)
class SwagSettings(Settings):
    """One training, whose late iterates give a Gaussian that M networks are drawn from.

    Attributes:
        members: number of networks drawn M.
        start: share of the run after which iterates are collected.
        rate: the constant learning rate from then on, over the recipe's.
        collections: how many iterates are collected, evenly.
        rank: how many of the last ones make the low-rank part of the covariance, K.
        scale: factor of the covariance; 0 for the mean alone, stochastic weight averaging.
        statistics: share of the run in which the networks drawn get their norms' statistics.
    """

    published: ClassVar = {"batch_size": 128, "epochs": 300, "nesterov": False}
    published_settings: ClassVar = {"members": 30, "start": 161 / 300, "collections": 109}
    costless: ClassVar = frozenset({"start", "rate", "collections", "rank", "scale", "statistics"})

    members: Count = 3
    start: Share = 0.5
    rate: Annotated[float, Interval(gt=0, le=1)] = 0.5
    collections: Number = 40
    rank: Number = 20
    scale: Coefficient = 0.5
    statistics: Share = 0.1

    def __post_init__(self) -> None:
        """Check every setting, and that a part of the run is left to collect in.

        Raises:
            InputError: a value is not allowed.
        """
        super().__post_init__()
        if self.start + self.statistics >= 1:
            raise InputError(
                f"start is {self.start} with statistics {self.statistics}: allowed: shares of the "
                f"run that together are below 1"
            )
