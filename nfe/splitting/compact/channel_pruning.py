"""Pruning of whole inner channels before compact fission: sparsity that is speed.

An inner channel of a residual block is a row of one convolution, an entry of the norm behind it
and a column of the next convolution. Its score is the sum of its weights' scores. What is left
are narrower blocks of ordinary layers, which are then divided over paths.
"""

import copy
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from nfe.backbones import Backbone
from nfe.backbones.resnet import Bottleneck
from nfe.backbones.wide_resnet import WideBlock
from nfe.common.errors import InputError
from nfe.common.ranking import lowest
from nfe.splitting.compact.block_rules import block_kind
from nfe.splitting.compact.channel_blocks import SMALL
from nfe.splitting.compact.slices import columns, rows

# Two convolutions that follow one another in a block, and the norm between them.
_Pair = tuple[str, str, str]


def without_channels(
    network: Backbone, scores: Mapping[str, Tensor], sparsity: float, paths: int
) -> Backbone:
    """Return a copy whose residual blocks keep the inner channels of the highest scores.

    Each pair of convolutions keeps (1 − sparsity) of the channels between them, so widths depend
    on no score: in multiples of 8 where that leaves every path as many, else rounded, at least
    one for each path. Ties are broken by index. Stem and shortcuts are left whole.

    Args:
        network: stem, stages and head; it is left as it is.
        scores: of each convolution's weights in the blocks, by its name.
        sparsity: share of the inner channels to remove, in [0, 1).
        paths: for how many paths every block must be wide enough.

    Raises:
        InputError: a stage has other parts than residual blocks of ungrouped convolutions, a
            block has fewer channels than there are paths, or a score is NaN.
    """
    narrow = copy.deepcopy(network)
    blocks = {n: m for n, m in narrow.named_modules() if block_kind(m) is not None}
    _check_blocks(narrow, blocks)
    for name, block in blocks.items():
        kept = {
            pair: _kept(scores, name, pair, sparsity, paths)
            for pair in _pairs(block_kind(block) or type(block))
        }
        for (first, norm, second), channels in kept.items():
            setattr(block, first, rows(block.get_submodule(first), channels))
            setattr(block, norm, rows(block.get_submodule(norm), channels))
            setattr(block, second, columns(block.get_submodule(second), channels))
    return narrow


def _pairs(kind: type[nn.Module]) -> list[_Pair]:
    if kind is WideBlock:
        return [("conv1", "bn2", "conv2")]
    first = ("conv1", "bn1", "conv2")
    return [first, ("conv2", "bn2", "conv3")] if kind is Bottleneck else [first]


def _check_blocks(network: Backbone, blocks: Mapping[str, nn.Module]) -> None:
    """Check that the stages' convolutions are those of residual blocks, none of them grouped."""
    for name, layer in network.named_modules():
        if isinstance(layer, nn.Conv2d) and name.startswith("stages."):
            inside = any(name.startswith(f"{block}.") for block in blocks)
            if layer.groups > 1 or not inside:
                raise InputError(
                    f"prune_channels has no rule for layer {name!r}: allowed: residual blocks of "
                    f"ungrouped convolutions"
                )


def _kept(
    scores: Mapping[str, Tensor], name: str, pair: _Pair, sparsity: float, paths: int
) -> Tensor:
    """Return the numbers of the channels between two convolutions that are kept, ascending."""
    first, _, second = pair
    made, read = scores[f"{name}.{first}"], scores[f"{name}.{second}"]
    score = made.flatten(1).sum(dim=1) + read.flatten(2).sum(dim=(0, 2))
    if bool(torch.isnan(score).any()):
        raise InputError("a pruning score is NaN")
    count = kept_channels(len(score), sparsity, paths)
    if count > len(score):
        raise InputError(
            f"prune_channels: layer {f'{name}.{first}'!r} has {len(score)} channels for {paths} "
            f"paths: allowed: wider layers or fewer exits"
        )
    return lowest(-score.cpu(), count).nonzero().flatten()


def kept_channels(channels: int, sparsity: float, paths: int) -> int:
    """Return how many of some inner channels are kept."""
    exact = (1 - sparsity) * channels
    if channels % SMALL == 0 and exact >= SMALL * paths:
        return SMALL * round(exact / SMALL)
    return max(paths, round(exact))
