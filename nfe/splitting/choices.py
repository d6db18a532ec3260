"""What can be chosen about a division of weights over exits, known without PyTorch."""

import math
from collections.abc import Collection, Sequence
from typing import Annotated, Literal, get_args

from annotated_types import Interval

from nfe.common.errors import InputError
from nfe.common.settings import Count, check_value

# The numbers of the paths are held in one byte for each weight.
Exits = Annotated[int, Interval(ge=1, le=255)]
Grouping = Literal["tensor", "stage"]
Granularity = Literal["weight", "kernel", "input_channel", "output_filter", "2:4", "alternating"]
# Kinds of layers that a path can keep whole, as a copy of its own that is never pruned.
Kind = Literal["pointwise", "grouped", "depthwise", "linear", "head", "other"]

GROUPINGS, GRANULARITIES, KINDS = map(get_args, (Grouping, Granularity, Kind))


def default_exit_stages(exits: int) -> tuple[int, ...]:
    """Return where the paths leave the trunk by default: exit i's after stage i."""
    check_exits(exits)
    return tuple(range(1, exits))


def check_exits(exits: int) -> None:
    """Check that paths can be counted: their numbers are held in one byte for each weight.

    Raises:
        InputError: they cannot.
    """
    check_value("exits", exits, Exits)


def check_exit_stages(exit_stages: Sequence[int], exits: int, stages: int) -> None:
    """Check that ``exits`` paths can leave a trunk of ``stages`` stages where they are asked to.

    Raises:
        InputError: a number is out of range, out of order or missing.
    """
    check_exits(exits)
    if len(exit_stages) != exits - 1:
        raise InputError(
            f"exit_stages is {list(exit_stages)}: allowed: {exits - 1} numbers, one per exit "
            f"but the final one"
        )
    if exits > stages and tuple(exit_stages) == default_exit_stages(exits):
        raise InputError(
            f"exits is {exits}: allowed: 1 to {stages}, the number of stages "
            f"(more only by exit_stages that repeat a stage)"
        )
    if any(not isinstance(stage, int) or not 1 <= stage < stages for stage in exit_stages):
        raise InputError(
            f"exit_stages is {list(exit_stages)}: allowed: stages 1 to {stages - 1}, since a "
            f"network of {stages} stages must leave each path a stage of its own"
        )
    if list(exit_stages) != sorted(exit_stages):
        raise InputError(f"exit_stages is {list(exit_stages)}: allowed: ascending numbers")


def check_ratio(ratio: Sequence[float], exits: int) -> None:
    """Check that ``ratio`` has one positive share per exit and sums to one.

    Raises:
        InputError: it does not.
    """
    if len(ratio) != exits:
        raise InputError(f"ratio is {list(ratio)}: allowed: {exits} numbers, one per exit")
    if any(not 0 < share < math.inf for share in ratio):
        raise InputError(f"ratio is {list(ratio)}: allowed: numbers above 0")
    if abs(sum(ratio) - 1) > 1e-6:
        raise InputError(f"ratio is {list(ratio)}, sum {sum(ratio):g}: allowed: a sum of 1")


def check_grouping(grouping: str, granularity: str, ratio: Sequence[float]) -> None:
    """Check how weights are to be divided.

    Raises:
        InputError: an unknown name, 2:4 with anything but two even paths per tensor, or
            alternating with anything but tensors.
    """
    check_value("grouping", grouping, Grouping)
    check_value("granularity", granularity, Granularity)
    if granularity == "alternating" and grouping != "tensor":
        raise InputError(
            f"granularity is 'alternating' with grouping {grouping!r}: allowed: grouping 'tensor'"
        )
    even = len(ratio) == 2 and abs(ratio[0] - ratio[1]) < 1e-6
    if granularity == "2:4" and not (even and grouping == "tensor"):
        raise InputError(
            f"granularity is '2:4' with grouping {grouping!r} and ratio {list(ratio)}: "
            f"allowed: grouping 'tensor' with exits 2 and ratio 0.5/0.5"
        )


def check_kept_whole(whole: Collection[str]) -> None:
    """Check the kinds of layers that are to be kept whole.

    Raises:
        InputError: a kind is unknown.
    """
    for name in whole:
        check_value("whole", name, Kind)


def check_compact(
    granularity: str, whole: Collection[str], unit: int, prune_channels: bool, scope: str
) -> None:
    """Check what goes together with ``alternating``.

    Raises:
        InputError: layers kept whole beside it, no unit of channels, or channels pruned without
            it or over all layers together.
    """
    check_value("unit", unit, Count)
    if prune_channels and (granularity != "alternating" or scope != "layer"):
        raise InputError(
            f"prune_channels is true with granularity {granularity!r} and scope {scope!r}: "
            f"allowed: granularity 'alternating' with scope 'layer'"
        )
    if granularity == "alternating" and whole:
        raise InputError(
            f"granularity is 'alternating' with whole {list(whole)}: allowed: none, or another "
            f"granularity"
        )
