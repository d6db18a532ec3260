"""Where a run stands: which step of how many, and in which phase of the run that is."""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise

from nfe.common.errors import InputError


@dataclass(frozen=True)
class Step:
    """One step of a run, or of a phase of it.

    Attributes:
        number: from 0.
        steps: how many there are.
        per_epoch: how many an epoch has.
    """

    number: int
    steps: int
    per_epoch: int

    @property
    def is_last(self) -> bool:
        """Whether it is the last step."""
        return self.number == self.steps - 1

    def ends(self, shares: Sequence[float]) -> list[int]:
        """Return after how many steps phases end that take ``shares`` of the steps.

        The shares sum to 1; the last phase ends with the run.
        """
        inner = [round(share * self.steps) for share in accumulate(shares[:-1])]
        return [*inner, self.steps]

    def phase(self, ends: Sequence[int]) -> tuple[int, "Step"]:
        """Return the number of the phase, from 0, and the step within it.

        Args:
            ends: after how many steps each phase ends, ascending to ``steps``.

        Raises:
            InputError: the run is so short that a phase has no step.
        """
        bounds = [0, *ends]
        if not all(begin < end for begin, end in pairwise(bounds)):
            raise InputError(
                f"the run has {self.steps} steps: allowed: enough for each of its {len(ends)} "
                "phases to have one (more epochs, a smaller batch)"
            )
        number = bisect_right(bounds, self.number) - 1
        begin, end = bounds[number], bounds[number + 1]
        return number, Step(self.number - begin, end - begin, self.per_epoch)
