"""MultiSWAG (Wilson & Izmailov, NeurIPS 2020): several SWA-Gaussian runs, averaged."""

import dataclasses
from dataclasses import dataclass
from typing import Any, ClassVar

from baselines.settings.swag import SwagSettings
from nfe.common.settings import Count
from nfe.method.settings import CombinesRuns


@dataclass(frozen=True)
class MultiSwagSettings(CombinesRuns, SwagSettings):
    """R runs of SWAG with other seeds; replicate r combines seeds rR … rR + R − 1.

    Attributes:
        members: number of networks drawn in each run.
        start: see SWAG.
        rate: see SWAG.
        collections: see SWAG.
        rank: see SWAG.
        scale: see SWAG.
        statistics: see SWAG.
        runs: number of runs R.
    """

    member_method: ClassVar = "swag"

    runs: Count = 3

    def member_seeds(self, seed: int) -> list[int]:
        """Return the seeds of the runs; replicates share none."""
        return list(range(seed * self.runs, (seed + 1) * self.runs))

    def member_settings(self) -> dict[str, Any]:
        """Return SWAG's settings."""
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(SwagSettings)}
