"""Feature maps: what methods need that mix, pool or convolve between the stages."""

from collections.abc import Sequence

from nfe.common.errors import InputError


def check_maps(shape: Sequence[int]) -> None:
    """Check that features of a square image are maps (batch, channels, side, side).

    Raises:
        InputError: they are tokens, or have their channels last.
    """
    if len(shape) != 4 or shape[2] != shape[3]:
        raise InputError(
            f"the network's features are {tuple(shape)} between its stages: the method is defined "
            f"on maps (batch, channels, height, width)"
        )
