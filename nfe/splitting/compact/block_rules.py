"""How each kind of residual block is divided over paths in compact fission.

A rule says which inner channels each path owns, and makes the block's lead for any of them
and what follows for a path. Rows are output channels, columns input channels; a path's map is
full-width between blocks and its own channels inside.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from torch import nn

from nfe.backbones.resnet import BasicBlock, Bottleneck
from nfe.backbones.wide_resnet import WideBlock
from nfe.splitting.compact.channel_blocks import Block, Division
from nfe.splitting.compact.no_rule import NoRule
from nfe.splitting.compact.segments import ColumnShortcut, Lead, Residual, Segment
from nfe.splitting.compact.slices import columns, own, rows


@dataclass(frozen=True)
class Rule:
    """How one block is divided.

    Attributes:
        inner: the inner channels of each path.
        lead: makes the lead to some inner channels; None: paths share no lead.
        body: makes what a path computes, a segment without its lead where there is one.
    """

    inner: Mapping[int, Block]
    lead: Callable[[Block], Lead] | None
    body: Callable[[int], nn.Module]

    def segment(self, path: int) -> nn.Module:
        """Return all that a path computes."""
        made = self.body(path)
        if self.lead is not None:
            cast(Segment, made).lead = self.lead(self.inner[path])
        return made


def block_kind(block: nn.Module) -> type[nn.Module] | None:
    """Return which of our kinds of block a block is, or is like; None where it is none."""
    kinds: tuple[type[nn.Module], ...] = (WideBlock, BasicBlock, Bottleneck)
    return next((kind for kind in kinds if like(block, kind)), None)


def like(block: nn.Module, kind: type[nn.Module]) -> bool:
    """Return whether a block is of one of our kinds, or torchvision's of the same name."""
    theirs = ("torchvision.models.resnet", kind.__name__)
    return isinstance(block, kind) or (type(block).__module__, type(block).__name__) == theirs


def _check_ungrouped(block: nn.Module, name: str, layers: Sequence[str]) -> None:
    """Check that the layers that are divided by rows and by columns have one group.

    Raises:
        NoRule: one has more: a part of it would leave channels unread.
    """
    for layer in layers:
        groups = cast(nn.Conv2d, block.get_submodule(layer)).groups
        if groups > 1:
            raise NoRule(f"layer {f'{name}.{layer}'!r} has {groups} groups")


def block_rule(block: nn.Module, name: str, division: Division, index: int) -> Rule | None:
    """Return how a residual block is divided; None where it is no block of a known kind.

    Args:
        block: the block.
        name: its name, for errors.
        division: the paths that cross it and their shares.
        index: its number in its stage.

    Raises:
        NoRule: a layer of it is of a form without rule.
        InputError: it is too narrow for its paths.
    """
    kind = block_kind(block)
    if kind is None:
        return None
    _check_ungrouped(block, name, ("conv1", "conv3" if kind is Bottleneck else "conv2"))
    if kind is WideBlock:
        return _pre_activation(cast(WideBlock, block), name, division)
    if kind is BasicBlock:
        return _basic(block, name, division)
    if cast(nn.Conv2d, block.conv2).groups > 1:
        return _grouped(block, name, division)
    return _bottleneck(block, name, division, index)


def _shortcuts(layers: list[nn.Module], name: str, division: Division) -> Callable[[int], Any]:
    """Return what makes each path's part of a shortcut: a 1×1 convolution, perhaps a norm."""
    if not layers:
        return lambda path: None
    conv, *norm = layers
    plain = isinstance(conv, nn.Conv2d) and conv.kernel_size == (1, 1) and conv.groups == 1
    if not plain or len(norm) > 1:
        raise NoRule(
            f"the shortcut of {name!r} is no ungrouped 1×1 convolution with a norm at most"
        )
    conv = cast(nn.Conv2d, conv)
    reads = division.blocks(conv.in_channels, f"{name}.shortcut")
    return lambda path: ColumnShortcut(conv, own(norm[0]) if norm else None, reads[path])


def _pre_activation(block: WideBlock, name: str, division: Division) -> Rule:
    """conv1 by rows, bn2 on the path's channels, conv2 by columns; bn1 reads the whole map."""
    inner = division.blocks(block.conv1.out_channels, f"{name}.conv1")
    short = _shortcuts([] if block.shortcut is None else [block.shortcut], name, division)
    return Rule(
        inner,
        lambda part: Lead(rows(block.conv1, part), rows(block.bn2, part), own(block.bn1)),
        lambda path: Residual(None, columns(block.conv2, inner[path]), short(path), False),
    )


def _post_activation(block: Any, name: str, division: Division) -> Callable[[int], Any]:
    layers = getattr(block, "shortcut", None)
    if layers is None:
        layers = block.downsample
    return _shortcuts([] if layers is None else list(layers), name, division)


def _basic(block: Any, name: str, division: Division) -> Rule:
    """conv1 by rows, bn1 on the path's channels, conv2 by columns, bn2 on the whole map."""
    inner = division.blocks(block.conv1.out_channels, f"{name}.conv1")
    short = _post_activation(block, name, division)

    def body(path: int) -> Residual:
        tail = nn.Sequential(columns(block.conv2, inner[path]), own(block.bn2))
        return Residual(None, tail, short(path), True)

    return Rule(inner, lambda part: Lead(rows(block.conv1, part), rows(block.bn1, part)), body)


def _bottleneck(block: Any, name: str, division: Division, index: int) -> Rule:
    """conv1 by rows, the 3×3 by columns, conv3 by rows.

    conv3's rows and bn3 are one of the paths' blocks of output channels, another one in every
    block of the stage: the next after the one before. The other channels pass unchanged.
    """
    inner = division.blocks(block.conv1.out_channels, f"{name}.conv1")
    outer = division.blocks(block.conv3.out_channels, f"{name}.conv3")
    short = _post_activation(block, name, division)

    def body(path: int) -> Residual:
        turn = (division.paths.index(path) + index) % len(division.paths)
        writes = outer[division.paths[turn]]
        tail = nn.Sequential(
            columns(block.conv2, inner[path]),
            own(block.bn2),
            nn.ReLU(),
            rows(block.conv3, writes),
            rows(block.bn3, writes),
        )
        return Residual(None, tail, short(path), True, writes)

    return Rule(inner, lambda part: Lead(rows(block.conv1, part), rows(block.bn1, part)), body)


def _grouped(block: Any, name: str, division: Division) -> Rule:
    """conv1 by rows, the path's own groups of the 3×3, conv3 by columns, bn3 on the whole map."""
    conv = block.conv2
    if conv.in_channels != conv.out_channels:
        raise NoRule(f"the groups of {name + '.conv2'!r} change the number of channels")
    size = conv.in_channels // conv.groups
    inner = division.blocks(conv.in_channels, f"{name}.conv2", size)
    short = _post_activation(block, name, division)

    def body(path: int) -> Residual:
        part = inner[path]
        tail = nn.Sequential(
            rows(conv, part),
            rows(block.bn2, part),
            nn.ReLU(),
            columns(block.conv3, part),
            own(block.bn3),
        )
        return Residual(None, tail, short(path), True)

    return Rule(inner, lambda part: Lead(rows(block.conv1, part), rows(block.bn1, part)), body)
