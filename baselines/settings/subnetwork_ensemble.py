"""Subnetwork Ensembles (Whitaker, arXiv 2311.14101): perturbed children of one trained parent."""

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from annotated_types import Interval

from nfe.common.errors import InputError
from nfe.common.settings import Coefficient, Count, Share
from nfe.method.settings import Settings


@dataclass(frozen=True)
class SubnetworkEnsembleSettings(Settings):
    """A parent, and M children that are perturbed copies of it and are tuned briefly.

    Attributes:
        members: number of children M.
        parent: share of the run that trains the parent; the children share the rest evenly.
        children: how they differ: ``noisy`` (Gaussian noise on all weights), ``sparse``
            (complementary halves of the weights), ``partitioned`` (each weight in one child) or
            ``stochastic`` (complementary halves that weights left out still join at random while
            the child is tuned, ever more rarely).
        noise: of noisy children: the noise's standard deviation over that of the layer's weights.
        chance: of stochastic children: the probability at first that a weight left out takes part.
        annealing: of stochastic children: share of their tuning after which it is 0.
    """

    published: ClassVar = {"batch_size": 128, "epochs": 200}
    published_settings: ClassVar = {"members": 6}
    costless: ClassVar = frozenset({"parent", "noise", "chance", "annealing"})

    members: Count = 3
    parent: Share = 0.7
    children: Literal["noisy", "sparse", "partitioned", "stochastic"] = "stochastic"
    noise: Coefficient = 0.1
    chance: Annotated[float, Interval(ge=0, le=1)] = 0.5
    annealing: Annotated[float, Interval(gt=0, le=1)] = 0.5

    def __post_init__(self) -> None:
        """Check every setting, and that a partition has parts.

        Raises:
            InputError: a value is not allowed.
        """
        super().__post_init__()
        if self.children == "partitioned" and self.members < 2:
            raise InputError(
                f"members is {self.members} with children 'partitioned': allowed: whole numbers "
                f"from 2"
            )
