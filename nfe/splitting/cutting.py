"""Layers whose rows or columns are zero, cut to what is left: the same outputs, less work.

Rows are output channels, columns input channels. An inner channel that the next layer does not
read is not computed, norm and all; other zero rows and columns are left out of the layer's own
arithmetic, which then selects its inputs and places its outputs.
"""

from collections.abc import Iterator
from itertools import pairwise
from typing import TypeVar, cast

import torch
from torch import Tensor, nn

from nfe.backbones.resnet import BasicBlock, Bottleneck
from nfe.backbones.wide_resnet import WideBlock
from nfe.splitting.compact.block_rules import like
from nfe.splitting.compact.chain_rules import BY_CHANNEL
from nfe.splitting.compact.channel_blocks import Block
from nfe.splitting.compact.path_stage import PathStage
from nfe.splitting.compact.segments import Fork, Residual
from nfe.splitting.compact.slices import columns, rows

Network = TypeVar("Network", bound=nn.Module)
Weighted = nn.Conv2d | nn.Linear

# Selecting and placing channels costs time, too: less than this share of a layer is not cut.
_LEAST = 0.1


class Cut(nn.Module):
    """The rows and columns of a layer that are not zero; the inputs and outputs of the whole.

    Attributes:
        part: the small layer.
        reads: the whole layer's inputs that it reads; None: all.
        writes: the whole layer's outputs that it writes; None: all.
        rest: (outputs,), what stands in the others: the whole layer's bias, or zeros.
    """

    reads: Tensor | None
    writes: Tensor | None
    rest: Tensor

    def __init__(self, whole: Weighted, reads: Tensor, writes: Tensor) -> None:
        """Take the columns ``reads`` and the rows ``writes`` of a layer."""
        super().__init__()
        outputs, inputs = whole.weight.shape[:2]
        self.part = columns(rows(whole, writes), reads)
        self.register_buffer("reads", reads if len(reads) < inputs else None)
        self.register_buffer("writes", writes if len(writes) < outputs else None)
        bias = whole.weight.new_zeros(outputs) if whole.bias is None else whole.bias
        self.register_buffer("rest", bias.detach().clone())

    def forward(self, x: Tensor) -> Tensor:
        """Compute as the whole layer: channels are axis 1 of maps, the last axis of a linear's."""
        planes = isinstance(self.part, nn.Conv2d)
        if self.reads is not None:
            # Where channels are the last axis, so that the memory keeps that order.
            x = x.movedim(1, -1) if planes else x
            x = x.index_select(x.dim() - 1, self.reads)
            x = x.movedim(-1, 1) if planes else x
        y: Tensor = self.part(x)
        if self.writes is None:
            return y
        y = y.movedim(1, -1) if planes else y
        whole = self.rest.to(y.dtype).expand(*y.shape[:-1], -1)
        whole = whole.index_copy(y.dim() - 1, self.writes, y)
        return whole.movedim(-1, 1) if planes else whole


def cut(network: Network) -> Network:
    """Cut a network's layers in place, for inference; return it in evaluation mode.

    Args:
        network: a network of ordinary layers that share no weights.
    """
    network.eval()
    for stage in [m for m in network.modules() if isinstance(m, PathStage)]:
        if stage.fork is not None:
            _cut_fork(stage, stage.fork)
    for place in _pairs(network):
        _cut_inner(*place)
    shared = [m for m in network.modules() if isinstance(m, Fork)]
    inside = {id(m) for fork in shared for m in fork.modules()}
    for name, layer in list(network.named_modules()):
        if isinstance(layer, (nn.Conv2d, nn.Linear)) and id(layer) not in inside:
            network.set_submodule(name, _cut_alone(layer))
    return network


# A module and the name of a layer in it.
_Place = tuple[nn.Module, str]
_Pair = tuple[_Place, _Place | None, _Place]


def _pairs(network: nn.Module) -> Iterator[_Pair]:
    """Yield where two layers follow one another, the norm between them, and nothing else reads.

    Later pairs of a block first: what they leave out, earlier ones need not compute.
    """
    for module in network.modules():
        if like(module, WideBlock):
            yield (module, "conv1"), (module, "bn2"), (module, "conv2")
        elif like(module, BasicBlock) or like(module, Bottleneck):
            if like(module, Bottleneck):
                yield (module, "conv2"), (module, "bn2"), (module, "conv3")
            yield (module, "conv1"), (module, "bn1"), (module, "conv2")
        elif isinstance(module, Residual) and module.lead is not None:
            norm = None if module.lead.norm is None else (module.lead, "norm")
            yield (module.lead, "conv"), norm, _first(module)
        elif type(module) is nn.Sequential:
            yield from _in_chain(module)


def _first(segment: Residual) -> _Place:
    """Return the layer that reads a path's inner channels."""
    return (segment.tail, "0") if isinstance(segment.tail, nn.Sequential) else (segment, "tail")


def _in_chain(chain: nn.Sequential) -> Iterator[_Pair]:
    """Yield the pairs of a chain with nothing but norms and channelwise layers between them."""
    named = list(chain.named_children())
    found = [i for i, (_, part) in enumerate(named) if isinstance(part, (nn.Conv2d, nn.Linear))]
    for second, first in pairwise(reversed(found)):
        between = named[first + 1 : second]
        norms = [name for name, part in between if isinstance(part, nn.BatchNorm2d)]
        passing = (nn.BatchNorm2d, *BY_CHANNEL)
        if len(norms) < 2 and all(isinstance(part, passing) for _, part in between):
            norm = (chain, norms[0]) if norms else None
            yield (chain, named[first][0]), norm, (chain, named[second][0])


def _layer(place: _Place) -> Weighted | None:
    layer = getattr(*place)
    plain = type(layer) in (nn.Conv2d, nn.Linear) and getattr(layer, "groups", 1) == 1
    return cast(Weighted, layer) if plain else None


def _cut_inner(before: _Place, norm: _Place | None, after: _Place) -> None:
    """Cut the channels between two layers to those that the second reads."""
    first, second = _layer(before), _layer(after)
    if first is None or second is None or type(first) is not type(second):
        return
    if norm is not None and type(getattr(*norm)) is not nn.BatchNorm2d:
        return
    read = _nonzero(second.weight, 1)
    if len(read) in (0, second.weight.shape[1]):
        return
    setattr(*before, rows(first, read))
    setattr(*after, columns(second, read))
    if norm is not None:
        setattr(*norm, rows(cast(nn.BatchNorm2d, getattr(*norm)), read))


def _cut_fork(stage: PathStage, fork: Fork) -> None:
    """Cut the inner channels of paths that share a lead."""
    kept, blocks, start = [], {}, 0
    for path, block in fork.blocks.items():
        segment = cast(nn.Sequential, stage.paths[str(path)])[0]
        place = _first(segment) if isinstance(segment, Residual) else None
        second = None if place is None else _layer(place)
        read = torch.arange(block.length)
        if place is not None and second is not None and len(found := _nonzero(second.weight, 1)):
            read = found.cpu()
            setattr(*place, columns(second, found))
        kept.append(block.start + read)
        blocks[path] = Block(start, len(read))
        start += len(read)
    index = torch.cat(kept).to(fork.lead.conv.weight.device)
    fork.lead.conv = rows(fork.lead.conv, index)
    if fork.lead.norm is not None:
        fork.lead.norm = rows(fork.lead.norm, index)
    fork.blocks = blocks


def _cut_alone(layer: Weighted) -> nn.Module:
    """Return a layer without its zero rows and columns, or the layer where they are few."""
    if type(layer) not in (nn.Conv2d, nn.Linear) or getattr(layer, "groups", 1) > 1:
        return layer
    outputs, inputs = layer.weight.shape[:2]
    reads, writes = _nonzero(layer.weight, 1), _nonzero(layer.weight, 0)
    left = len(reads) * len(writes) / (inputs * outputs)
    return layer if left == 0 or left > 1 - _LEAST else Cut(layer, reads, writes)


def _nonzero(weight: Tensor, axis: int) -> Tensor:
    """Return which rows (``axis`` 0) or columns (1) have a weight that is not zero."""
    others = [a for a in range(weight.dim()) if a != axis]
    return (weight != 0).sum(dim=others).nonzero().flatten()
