"""MutualNet (Yang et al., arXiv 2105.07085): widths that learn from the widest at other sizes."""

from dataclasses import dataclass
from typing import Annotated, ClassVar, Self

from annotated_types import Interval, Len

from baselines.settings.widths import Widths, check_widths
from nfe.backbones import Architecture
from nfe.common.errors import InputError
from nfe.common.settings import Coefficient
from nfe.method.settings import Settings


@dataclass(frozen=True)
class MutualNetSettings(Settings):
    """One network at several widths; the narrower ones see images at several resolutions.

    Attributes:
        widths: shares of every layer's channels, ascending to 1; each is a member.
        scales: image sides that the narrower widths are trained on, as shares of the data's,
            descending from 1.
        distillation: coefficient of what the narrower widths learn from the widest.
    """

    published: ClassVar = {"batch_size": 128, "epochs": 200, "schedule": "cosine"}
    costless: ClassVar = frozenset({"distillation"})

    widths: Widths = (0.9, 0.95, 1.0)
    scales: Annotated[tuple[Annotated[float, Interval(gt=0, le=1)], ...], Len(1)] = (
        1.0,
        0.875,
        0.75,
        0.625,
    )
    distillation: Coefficient = 1.0

    def resolved(self, architecture: Architecture) -> Self:
        """Check widths and scales."""
        check_widths(self.widths)
        if list(self.scales) != sorted(set(self.scales), reverse=True) or self.scales[0] != 1:
            raise InputError(
                f"scales is {list(self.scales)}: allowed: descending shares of the images' side, "
                f"the first one 1"
            )
        return self
