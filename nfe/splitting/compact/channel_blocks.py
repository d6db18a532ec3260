"""Contiguous blocks of channels: which part of a layer's channels each path owns."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate

from nfe.common.errors import InputError
from nfe.common.ranking import counts
from nfe.splitting.grouping import shares

# The size of a unit where the one asked for is too coarse.
SMALL = 8


@dataclass(frozen=True)
class Block:
    """Channels ``start`` to ``start`` + ``length`` − 1."""

    start: int
    length: int

    @property
    def stop(self) -> int:
        """The first channel behind the block."""
        return self.start + self.length


@dataclass(frozen=True)
class Division:
    """How the channels of a layer are divided over the paths that cross it.

    Blocks are whole numbers of units, in the ratio's shares by largest remainder. A unit is
    ``unit`` channels where the layer has two or more for each path, else 8 channels where it
    has one or more for each path, else one channel; likewise the next smaller one where the
    channels are no multiple, or where the ratio leaves a path without a unit.

    Attributes:
        paths: the paths, ascending.
        ratio: the share of each exit.
        unit: channels of a unit, if there are enough.
    """

    paths: tuple[int, ...]
    ratio: tuple[float, ...]
    unit: int

    def blocks(self, channels: int, layer: str, multiple: int = 1) -> dict[int, Block]:
        """Return each path's block of a layer's channels, one behind the other.

        Args:
            channels: channels to divide.
            layer: the layer's name, for the error.
            multiple: what every unit must be a multiple of: the channels of one group of a
                grouped convolution.

        Raises:
            InputError: a path is left without a channel.
        """
        share = shares(self.paths, self.ratio)
        for unit, least in self._units(multiple):
            count = channels // unit
            if channels % unit or count < least * len(self.paths):
                continue
            lengths = [unit * n for n in counts(count, share)]
            if all(lengths):
                starts = accumulate([0, *lengths[:-1]])
                own = [Block(*pair) for pair in zip(starts, lengths, strict=True)]
                return dict(zip(self.paths, own, strict=True))
        raise InputError(
            f"granularity 'alternating': {channels // multiple} "
            f"{'channels' if multiple == 1 else 'groups'} of layer {layer!r} in the shares "
            f"{'/'.join(f'{part:.3g}' for part in share)} leave a path without any: allowed: "
            f"wider layers, a more even ratio or fewer exits"
        )

    def _units(self, multiple: int) -> Iterator[tuple[int, int]]:
        """Yield sizes of units, each with how many of them every path should have."""
        yield math.lcm(self.unit, multiple), 2
        if self.unit >= SMALL:
            yield math.lcm(SMALL, multiple), 1
        yield multiple, 1


def union(blocks: Sequence[Block]) -> Block:
    """Return the block that adjacent blocks, in order, make together."""
    return Block(blocks[0].start, sum(block.length for block in blocks))
