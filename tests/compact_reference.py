"""Compact fission written the obvious way: which path owns which weight, and dense masked copies.

Independent of nfe's rules: the rectangles are written out here from the definition, and a
network of full-size masked layers (``dense_reference.DenseFission``) computes with them.
"""

import torch
from dense_reference import DenseFission
from torch import nn

from nfe.backbones.resnet import BasicBlock, Bottleneck
from nfe.backbones.wide_resnet import WideBlock


def lengths(channels, paths, multiple=1):
    """Even blocks in units of 16, of 8 or of one channel."""
    if channels % 16 == 0 and channels >= 32 * paths:
        unit = 16
    elif channels % 8 == 0 and channels >= 8 * paths:
        unit = 8
    else:
        unit = multiple
    count = channels // unit
    return [unit * (count // paths + (i < count % paths)) for i in range(paths)]


def owner(channels, paths, multiple=1):
    """The number of the block, from 0, of each channel."""
    return torch.repeat_interleave(
        torch.arange(len(paths)), torch.tensor(lengths(channels, len(paths), multiple))
    )


class Owners:
    """Collects group tensors: the path's number for each weight."""

    def __init__(self, parts, leave):
        self.parts, self.leave, self.groups = parts, leave, {}
        self.exits = len(leave) + 1
        # Where a norm's shift must stay zero: channels that a path does not write.
        self.silent = []
        runs = {}
        for number, stage in enumerate(parts.stages):
            left = [k for k in range(1, self.exits) if leave[k - 1] <= number]
            paths = [*left, self.exits]
            if len(paths) == 1:
                self.whole(f"stages.{number}", stage)
            elif isinstance(stage[0], nn.Conv2d):
                runs.setdefault(tuple(paths), []).append((f"stages.{number}", stage))
            else:
                for index, block in enumerate(stage):
                    self.block(f"stages.{number}.{index}", block, paths, index)
        for paths, stages in runs.items():
            self.chain(stages, list(paths))
        self.whole("stem", parts.stem)
        if self.exits > 1:
            self.head(list(range(1, self.exits + 1)))

    def put(self, name, layer, number, paths):
        number = number.expand(layer.weight.shape[:2]) if number.dim() == 2 else number
        values = torch.tensor(paths)[number].to(torch.uint8)
        shape = (*values.shape, *[1] * (layer.weight.dim() - 2))
        self.groups[name] = values.view(shape).expand(layer.weight.shape).clone()

    def whole(self, name, part):
        for inner, layer in part.named_modules():
            if isinstance(layer, nn.Conv2d):
                full = torch.zeros(layer.weight.shape[:2], dtype=torch.long)
                self.put(f"{name}.{inner}".rstrip("."), layer, full, [self.exits])

    def rows(self, name, layer, paths, multiple=1, turn=0):
        number = owner(layer.weight.shape[0], paths, multiple)
        # The block that path i owns is (i + turn) mod p.
        self.put(name, layer, ((number - turn) % len(paths))[:, None], paths)

    def columns(self, name, layer, paths, multiple=1):
        self.put(name, layer, owner(layer.weight.shape[1], paths, multiple)[None, :], paths)

    def block(self, name, block, paths, index):
        short = block.shortcut
        if isinstance(short, nn.Conv2d):
            self.columns(f"{name}.shortcut", short, paths)
        elif short is not None and len(short):
            self.columns(f"{name}.shortcut.0", short[0], paths)
        if isinstance(block, (WideBlock, BasicBlock)):
            self.rows(f"{name}.conv1", block.conv1, paths)
            self.columns(f"{name}.conv2", block.conv2, paths)
        elif block.conv2.groups > 1:
            size = block.conv2.in_channels // block.conv2.groups
            self.rows(f"{name}.conv1", block.conv1, paths, size)
            self.rows(f"{name}.conv2", block.conv2, paths, size)
            self.columns(f"{name}.conv3", block.conv3, paths, size)
        else:
            assert isinstance(block, Bottleneck)
            self.rows(f"{name}.conv1", block.conv1, paths)
            self.columns(f"{name}.conv2", block.conv2, paths)
            self.rows(f"{name}.conv3", block.conv3, paths, turn=index)
            self.silent.append((f"{name}.bn3", f"{name}.conv3"))

    def chain(self, stages, paths):
        convs = [
            (f"{name}.{i}", layer)
            for name, stage in stages
            for i, layer in enumerate(stage)
            if isinstance(layer, nn.Conv2d)
        ]
        for i, (name, layer) in enumerate(convs):
            if i == len(convs) - 1 and len(convs) % 2:
                outputs, inputs = (owner(n, paths) for n in layer.weight.shape[:2])
                turn = (outputs[:, None] - inputs[None, :]) % len(paths)
                self.put(name, layer, turn, paths)
            else:
                (self.columns if i % 2 else self.rows)(name, layer, paths)

    def head(self, paths):
        linear = [(n, m) for n, m in self.parts.head.named_modules() if isinstance(m, nn.Linear)]
        for i, (name, layer) in enumerate(linear[:-1]):
            (self.columns if i % 2 else self.rows)(f"head.{name}", layer, paths)


def masked_reference(parts, leave, shared_norm, kept=None):
    """Full-size masked copies; with ``shared_norm`` norms that read one tensor are one.

    ``kept``: masks of pruning, by layer.
    """
    owners = Owners(parts, leave)
    silent = {name: group.clone() for name, group in owners.groups.items()}
    for name, mask in (kept or {}).items():
        owners.groups[name] *= mask
    dense = DenseFission(parts, owners.groups, leave)
    for norm, conv in owners.silent:
        stage, index, name = norm.split(".")[1:]
        for key, path in dense.paths.items():
            if key.startswith(f"{stage}/"):
                mine = silent[conv][:, 0, 0, 0] == int(key.split("/")[1])
                dense.masks.append((path[int(index)].get_submodule(name).bias, mine))
    for stage in range(1, dense.depth) if shared_norm else ():
        trunk = dense.paths[f"{stage}/{dense.exits}"]
        for path in (k for k in range(1, dense.exits) if leave[k - 1] == stage):
            block = dense.paths[f"{stage}/{path}"][0]
            if isinstance(block, WideBlock):
                block.bn1.weight, block.bn1.bias = trunk[0].bn1.weight, trunk[0].bn1.bias
    return dense, owners.groups
