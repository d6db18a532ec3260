"""Parts of a compact network that no rule divides: their weights are divided one by one.

As in ``nfe.splitting.network.FissionNetwork``: each path computes them whole, with zeros where a
weight is another path's.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from nfe.backbones import Backbone
from nfe.splitting.grouping import Plan
from nfe.splitting.layers import head_layers, pruned_layers
from nfe.splitting.path_layers import SplitWeight, for_path


class Unstructured:
    """Divides parts of one network, and keeps what it has divided.

    Attributes:
        weights: every split weight, by the name of its layer (dots become slashes).
        reasons: why there was no rule, by the name of the part.
    """

    def __init__(self, network: Backbone, masks: Mapping[str, Tensor], plan: Plan) -> None:
        """Divide the weights of ``network`` that survive in ``masks`` (default: all)."""
        self.weights: dict[str, SplitWeight] = {}
        self.reasons: dict[str, str] = {}
        self._names = {id(module): name for name, module in network.named_modules()}
        self._layers = pruned_layers(network) | head_layers(network)
        self._masks = masks
        self._plan = plan

    def divide(self, part: nn.Module, paths: Sequence[int], reason: str) -> dict[int, nn.Module]:
        """Return a part of the network for each path.

        Raises:
            CollapseError: a layer is left without a weight on some path.
        """
        name = self._names[id(part)]
        inside = {n: m for n, m in self._layers.items() if f"{n}.".startswith(f"{name}.")}
        # An empty part has nothing that a rule could divide.
        if inside:
            self.reasons[name] = reason
        splits = self._split(name, inside, paths)
        return {path: for_path(part, splits, path) for path in paths}

    def _split(
        self, name: str, layers: Mapping[str, nn.Module], paths: Sequence[int]
    ) -> dict[nn.Parameter, tuple[str, SplitWeight]]:
        masks = {n: self._masks.get(n, _all_of(layer)) for n, layer in layers.items()}
        conv_groups = {n: getattr(layer, "groups", 1) for n, layer in layers.items()}
        assigned = self._plan.divide(name, masks, paths, conv_groups)
        splits = {}
        for layer, group in assigned.items():
            weight = layers[layer].get_parameter("weight")
            mine = nn.Parameter(weight.detach().clone(), weight.requires_grad)
            key = layer.replace(".", "/")
            self.weights[key] = SplitWeight(mine, group)
            splits[weight] = (key, self.weights[key])
        return splits


def _all_of(layer: nn.Module) -> Tensor:
    return torch.ones_like(layer.get_parameter("weight"), dtype=torch.bool)
