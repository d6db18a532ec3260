"""Compact paths side by side as one: grouped convolutions, for inference.

The paths of a stage have layers of the same kind; their maps, one behind the other along the
channels, pass one grouped layer in place of one layer for each path. The same logits from fewer
calls: what counts for a single image, where calls and not arithmetic take the time. Narrower
paths are filled up with zeros to the width of the widest.
"""

from collections.abc import Callable, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from nfe.backbones.layers import form
from nfe.splitting.compact.chain_rules import BY_CHANNEL
from nfe.splitting.compact.no_rule import NoRule
from nfe.splitting.compact.path_stage import PathStage
from nfe.splitting.compact.segments import ColumnShortcut, Lead, Residual


class GroupedNetwork(nn.Module):
    """A compact network's paths side by side, in evaluation mode.

    Attributes:
        stages: each stage's paths as one.
        joining: how many copies of the trunk's map enter each stage for paths that leave it.
        ends: which of the last maps each exit's head reads.
    """

    def __init__(
        self, stem: nn.Module, stages: Sequence[PathStage], heads: Sequence[nn.Module]
    ) -> None:
        """Put paths of ordinary layers side by side.

        Raises:
            NoRule: the layers of some paths differ, or are of a kind that cannot be grouped.
        """
        super().__init__()
        crossed = [[int(path) for path in stage.paths] for stage in stages]
        alone = [
            [stage.alone(path) for path in paths]
            for stage, paths in zip(stages, crossed, strict=True)
        ]
        before = [1, *(len(paths) for paths in crossed[:-1])]
        self.stem = stem
        self.stages = nn.ModuleList(merged(parts) for parts in alone)
        self.heads = nn.ModuleList(heads)
        self.joining = [len(paths) - n for paths, n in zip(crossed, before, strict=True)]
        last = {path: place for place, path in enumerate(crossed[-1])}
        trunk = len(crossed[-1]) - 1
        self.ends = [last.get(path, trunk) for path in range(1, len(heads) + 1)]
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        """Map images (batch, channels, h, w) to logits (batch, exits, classes), exit 1 first."""
        x, paths = self.stem(x), 1
        for stage, joining in zip(self.stages, self.joining, strict=True):
            if joining:
                trunk = x.chunk(paths, dim=1)[-1]
                x, paths = torch.cat([x, *[trunk] * joining], dim=1), paths + joining
            x = stage(x)
        maps = x.chunk(paths, dim=1)
        ends = zip(self.heads, self.ends, strict=True)
        return torch.stack([head(maps[place]) for head, place in ends], dim=1)

    def ensemble(self, x: Tensor) -> Tensor:
        """Map images to the ensemble's logits (batch, classes): the mean over exits."""
        return cast(Tensor, self(x)).mean(dim=1)


class GroupedShortcut(nn.Module):
    """The paths' parts of a 1×1 shortcut, each on its own channels of its own map."""

    index: Tensor

    def __init__(self, parts: Sequence[ColumnShortcut], width: int) -> None:
        """Group shortcuts that read maps of ``width`` channels."""
        super().__init__()
        longest = max(part.block.length for part in parts)
        self.stride = parts[0].stride
        self.conv = merged([part.conv for part in parts])
        self.norm = _optional([part.norm for part in parts])
        # What fills a shorter block up meets weights of zero.
        rows = [
            torch.arange(part.block.start, part.block.stop).tolist()
            + [0] * (longest - part.block.length)
            for part in parts
        ]
        index = [path * width + channel for path, row in enumerate(rows) for channel in row]
        self.register_buffer("index", torch.tensor(index), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, paths · inputs, h, w) to (batch, paths · outputs, h / stride, …)."""
        taken = x[:, :, :: self.stride, :: self.stride].index_select(1, self.index)
        out: Tensor = self.conv(taken)
        return out if self.norm is None else cast(Tensor, self.norm(out))


def merged(parts: Sequence[Any]) -> Any:
    """Return layers of the same kind as one layer on maps side by side.

    Raises:
        NoRule: they differ, or are of a kind that cannot be grouped.
    """
    first = parts[0]
    if len(parts) == 1:
        return first
    if len({type(part) for part in parts}) > 1:
        raise NoRule("the layers of its paths are of different kinds")
    if isinstance(first, BY_CHANNEL):
        return first
    rule = _RULES.get(type(first))
    if rule is None:
        raise NoRule(f"a {type(first).__name__} cannot be grouped")
    return rule(parts)


def _optional(parts: Sequence[Any]) -> Any:
    """Return what may be absent, from all paths alike."""
    given = [part is not None for part in parts]
    if any(given) and not all(given):
        raise NoRule("the layers of its paths are of different kinds")
    return merged(parts) if all(given) else None


def _sequence(parts: Sequence[Sequence[nn.Module]]) -> list[nn.Module]:
    if len({len(part) for part in parts}) > 1:
        raise NoRule("its paths have different numbers of layers")
    return [merged(layers) for layers in zip(*parts, strict=True)]


def _lead(parts: Sequence[Lead]) -> Lead:
    norm, before = (_optional([getattr(p, name) for p in parts]) for name in ("norm", "before"))
    return Lead(merged([part.conv for part in parts]), norm, before)


def _residual(parts: Sequence[Residual]) -> Residual:
    first = parts[0]
    if any(part.writes is not None for part in parts):
        raise NoRule("a bottleneck's paths write different channels")
    shortcuts = [part.shortcut for part in parts]
    short = None
    if isinstance(first.shortcut, ColumnShortcut):
        width = cast(Lead, first.lead).conv.in_channels
        short = GroupedShortcut(cast(list[ColumnShortcut], shortcuts), width)
    elif first.shortcut is not None:
        raise NoRule("its shortcuts cannot be grouped")
    lead, tail = merged([part.lead for part in parts]), merged([part.tail for part in parts])
    return Residual(lead, tail, short, first.activated)


@torch.no_grad()
def _convolution(parts: Sequence[nn.Conv2d]) -> nn.Conv2d:
    first, paths = parts[0], len(parts)
    how = form(first)
    if any(form(part) != how or part.groups != first.groups for part in parts):
        raise NoRule("its paths' convolutions differ")
    if first.groups > 1:
        raise NoRule("grouped convolutions are not grouped once more")
    outputs, inputs = (max(getattr(p, f"{w}_channels") for p in parts) for w in ("out", "in"))
    made = nn.Conv2d(paths * inputs, paths * outputs, groups=paths, **how, device="meta")
    # In the order of the memory that the paths' own weights have.
    last = first.weight.is_contiguous(memory_format=torch.channels_last)
    weight = first.weight.new_zeros(paths * outputs, inputs, *first.weight.shape[2:])
    made.weight = nn.Parameter(
        weight.contiguous(memory_format=torch.channels_last if last else torch.contiguous_format)
    )
    for path, part in enumerate(parts):
        rows = made.weight[path * outputs :][: part.out_channels]
        rows[:, : part.in_channels] = part.weight
    if how["bias"]:
        made.bias = nn.Parameter(_filled([cast(Tensor, part.bias) for part in parts], outputs, 0))
    return made


@torch.no_grad()
def _norm(parts: Sequence[nn.BatchNorm2d]) -> nn.BatchNorm2d:
    first, width = parts[0], max(part.num_features for part in parts)
    if first.weight is None or first.running_mean is None:
        raise NoRule("its norms have no scale, or no running statistics")
    made = nn.BatchNorm2d(len(parts) * width, first.eps, device="meta")
    for name, fill in (("weight", 0), ("bias", 0), ("running_mean", 0), ("running_var", 1)):
        values = _filled([getattr(part, name) for part in parts], width, fill)
        if isinstance(getattr(first, name), nn.Parameter):
            setattr(made, name, nn.Parameter(values))
        else:
            made.register_buffer(name, values)
    made.num_batches_tracked = cast(Tensor, first.num_batches_tracked).clone()
    return made


def _filled(values: Sequence[Tensor], width: int, fill: float) -> Tensor:
    """Return vectors one behind the other, each filled up to ``width``."""
    padded = [nn.functional.pad(v, (0, width - len(v)), value=fill) for v in values]
    return torch.cat(padded)


_RULES: dict[type, Callable[[Any], Any]] = {
    nn.Sequential: lambda parts: nn.Sequential(*_sequence(parts)),
    nn.Conv2d: _convolution,
    nn.BatchNorm2d: _norm,
    Lead: _lead,
    Residual: _residual,
}
