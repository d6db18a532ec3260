"""The pieces of a compact path: blocks whose inner channels are the path's own.

A segment begins with a lead, the layers up to its inner channels. Paths that leave from one
tensor can share one lead: they fork behind it.
"""

from collections.abc import Mapping, Sequence
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nfe.splitting.compact.channel_blocks import Block
from nfe.splitting.compact.channels import split, take
from nfe.splitting.compact.slices import columns, conv_part, norm_part, own, rows


class Lead(nn.Module):
    """[norm–ReLU–] convolution [–norm] –ReLU: from a full-width map to inner channels.

    Attributes:
        before: the norm in front, in pre-activation networks.
        conv: the convolution.
        norm: the norm behind it.
    """

    def __init__(
        self, conv: nn.Conv2d, norm: nn.BatchNorm2d | None, before: nn.BatchNorm2d | None = None
    ) -> None:
        super().__init__()
        self.before = before
        self.conv = conv
        self.norm = norm

    def enter(self, x: Tensor) -> Tensor:
        """Return what the convolution reads."""
        return x if self.before is None else F.relu(self.before(x))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return what the convolution reads, and all inner channels."""
        pre = self.enter(x)
        inner = self.conv(pre)
        return pre, F.relu(inner if self.norm is None else self.norm(inner))

    def part(self, x: Tensor, block: Block) -> tuple[Tensor, Tensor]:
        """Return what the convolution reads, and the inner channels ``block`` alone."""
        pre = self.enter(x)
        inner = conv_part(self.conv, pre, block)
        return pre, F.relu(inner if self.norm is None else norm_part(self.norm, inner, block))

    def rows(self, block: Block) -> "Lead":
        """Return a lead of its own to the inner channels ``block``."""
        norm = None if self.norm is None else rows(self.norm, block)
        before = None if self.before is None else own(self.before)
        return Lead(rows(self.conv, block), norm, before)


class Segment(nn.Module):
    """A lead and what follows; without a lead where paths share theirs, see ``Fork``."""

    def __init__(self, lead: Lead | None) -> None:
        super().__init__()
        self.lead = lead

    def forward(self, x: Tensor) -> Tensor:
        """Map a full-width map (batch, channels, h, w) to the segment's output."""
        pre, inner = cast(Lead, self.lead)(x)
        return self.behind(x, pre, inner)

    def behind(self, x: Tensor, pre: Tensor, inner: Tensor) -> Tensor:
        """Do what follows the lead.

        Args:
            x: the segment's input.
            pre: what the lead's convolution read.
            inner: the path's inner channels.
        """
        raise NotImplementedError


class Chain(Segment):
    """A lead and plain layers one after the other."""

    def __init__(self, lead: Lead | None, rest: Sequence[nn.Module]) -> None:
        super().__init__(lead)
        self.rest = nn.Sequential(*rest)

    def behind(self, x: Tensor, pre: Tensor, inner: Tensor) -> Tensor:
        """Apply the layers behind the lead."""
        return cast(Tensor, self.rest(inner))


class Residual(Segment):
    """A residual block of which a path owns the inner channels.

    Attributes:
        tail: from the path's inner channels to the block's output channels.
        shortcut: from what the lead's convolution read; None: the input itself is added.
        activated: whether a ReLU follows the sum.
        writes: the channels that the tail adds to; None: all.
    """

    def __init__(
        self,
        lead: Lead | None,
        tail: nn.Module,
        shortcut: nn.Module | None,
        activated: bool,
        writes: Block | None = None,
    ) -> None:
        super().__init__(lead)
        self.tail = tail
        self.shortcut = shortcut
        self.activated = activated
        self.writes = writes

    def behind(self, x: Tensor, pre: Tensor, inner: Tensor) -> Tensor:
        """Add tail and shortcut."""
        out = self.tail(inner)
        kept = x if self.shortcut is None else self.shortcut(pre)
        if self.writes is None:
            total = out + kept
            return F.relu(total) if self.activated else total
        return self._write(out, kept, self.writes)

    def _write(self, out: Tensor, kept: Tensor, block: Block) -> Tensor:
        """Add to some channels; the others of an activated input need no second ReLU."""
        lengths = [block.start, block.length, kept.shape[1] - block.stop]
        first, mine, last = split(kept, lengths)
        total = torch.cat([first, out + mine, last], dim=1)
        return F.relu(total) if self.activated else total


class ColumnShortcut(nn.Module):
    """The part of a 1×1 shortcut that reads the path's own channels and writes all.

    Pixels that the stride skips are left out first.
    """

    def __init__(self, conv: nn.Conv2d, norm: nn.Module | None, block: Block) -> None:
        super().__init__()
        self.block = block
        self.stride = conv.stride[0]
        self.conv = columns(conv, block)
        self.conv.stride = (1, 1)
        self.norm = norm

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, inputs, h, w) to (batch, outputs, h / stride, w / stride)."""
        out: Tensor = self.conv(take(x, self.block.start, self.block.length, self.stride))
        return out if self.norm is None else cast(Tensor, self.norm(out))


class Fork(nn.Module):
    """The whole first layers of paths that leave from one tensor.

    Attributes:
        lead: the layers; their inner channels are the paths' blocks, one behind the other.
        blocks: each path's channels among them.
    """

    def __init__(self, lead: Lead, blocks: Mapping[int, Block]) -> None:
        super().__init__()
        self.lead = lead
        self.blocks = dict(blocks)

    def forward(self, x: Tensor) -> tuple[Tensor, dict[int, Tensor]]:
        """Return what the convolution reads, and each path's inner channels."""
        pre, inner = self.lead(x)
        parts = split(inner, [block.length for block in self.blocks.values()])
        return pre, dict(zip(self.blocks, parts, strict=True))

    def one(self, path: int, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return what the convolution reads, and one path's inner channels alone."""
        return self.lead.part(x, self.blocks[path])

    def alone(self, path: int) -> Lead:
        """Return a lead of its own for one path."""
        return self.lead.rows(self.blocks[path])
