"""MultiSWAG (Wilson & Izmailov, NeurIPS 2020): several SWA-Gaussian runs, averaged."""

import dataclasses
from dataclasses import dataclass
from typing import Any, ClassVar

from baselines.settings.swag import Number, SwagSettings
from nfe.method.settings import CombinesRuns


@dataclass(frozen=True)
class MultiSwagSettings(SwagSettings, CombinesRuns):
    """R runs of SWAG with other seeds; replicate r combines seeds rR … rR + R − 1.

    All settings but ``modes`` are those of each run, which is a run of ``swag`` like any other.

    Attributes:
        members: number of networks drawn in each run M; the prediction has R · M members.
        start: share of each run after which iterates are collected.
        rate: the constant learning rate from then on, over the recipe's.
        collections: how many iterates each run collects, evenly.
        rank: how many of the last ones make the low-rank part of each covariance, K.
        scale: factor of the covariances; 0 for the means alone, MultiSWA.
        statistics: share of each run in which the networks drawn get their norms' statistics.
        modes: number of SWAG runs combined R, each around a mode of its own.
    """

    # SWAG's own version is the members'; here only how they are combined counts.
    version: ClassVar[int] = 1
    member_method: ClassVar = "swag"

    modes: Number = 3

    def ensemble_size(self) -> int:
        """Return the number of all draws of all modes."""
        return self.modes * self.members

    def member_seeds(self, seed: int) -> list[int]:
        """Return the seeds of the SWAG runs; replicates share none."""
        return list(range(seed * self.modes, (seed + 1) * self.modes))

    def member_settings(self) -> dict[str, Any]:
        """Return SWAG's settings, as given here."""
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(SwagSettings)}
