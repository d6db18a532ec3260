"""Deep Ensembles (Lakshminarayanan et al., NeurIPS 2017): independent networks, averaged."""

from dataclasses import dataclass
from typing import ClassVar

from nfe.common.settings import Count
from nfe.method.settings import CombinesRuns


@dataclass(frozen=True)
class DeepEnsembleSettings(CombinesRuns):
    """M single networks with other seeds; replicate r combines seeds rM … rM + M − 1.

    Attributes:
        members: number of networks M.
    """

    member_method: ClassVar = "single"
    published: ClassVar = {"batch_size": 128, "epochs": 200}

    members: Count = 3

    def member_seeds(self, seed: int) -> list[int]:
        """Return the members' seeds; replicates share no member."""
        return list(range(seed * self.members, (seed + 1) * self.members))
