"""Last-layer Laplace (Daxberger et al., NeurIPS 2021): a posterior of the classifier's weights."""

from dataclasses import dataclass
from typing import ClassVar

from nfe.common.settings import Count, Positive
from nfe.method.settings import Settings


@dataclass(frozen=True)
class LaplaceSettings(Settings):
    """One network, and draws of its last layer from a Gaussian around what it has learned.

    Attributes:
        members: number of draws M.
        per_class: training images of each class that the curvature is measured on.
        prior: precision δ of the prior; None for the one of highest evidence.
    """

    published: ClassVar = {"batch_size": 128, "epochs": 200}
    costless: ClassVar = frozenset({"prior"})

    members: Count = 10
    per_class: Count = 50
    prior: Positive | None = None
