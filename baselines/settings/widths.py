"""Widths of one network as a setting: shares of every layer's channels."""

from collections.abc import Sequence
from typing import Annotated

from annotated_types import Interval, Len

from nfe.common.errors import InputError

Widths = Annotated[tuple[Annotated[float, Interval(gt=0, le=1)], ...], Len(2)]


def check_widths(widths: Sequence[float]) -> None:
    """Check that widths rise to the whole network's.

    Raises:
        InputError: they do not.
    """
    if list(widths) != sorted(set(widths)) or widths[-1] != 1:
        raise InputError(
            f"widths is {list(widths)}: allowed: ascending shares of the channels, the last one 1"
        )
