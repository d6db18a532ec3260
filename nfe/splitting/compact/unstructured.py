"""Parts of a compact network that no rule divides: their weights are divided one by one.

As in ``nfe.splitting.network.FissionNetwork``: each path computes them whole, with zeros where a
weight is another path's.
"""

from collections.abc import Mapping, Sequence

from torch import Tensor, nn

from nfe.backbones import Backbone
from nfe.pruning import everything
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
        self._masks = {**everything(pruned_layers(network) | head_layers(network)), **masks}
        self._network = network
        self._plan = plan

    def divide(self, part: nn.Module, paths: Sequence[int], reason: str) -> dict[int, nn.Module]:
        """Return a part of the network for each path.

        Raises:
            CollapseError: a layer is left without a weight on some path.
        """
        # What stands for a function of the traced network has no name there, and no weights.
        name = self._names.get(id(part))
        splits = {} if name is None else self._split(name, paths, reason)
        return {path: for_path(part, splits, path) for path in paths}

    def _split(
        self, name: str, paths: Sequence[int], reason: str
    ) -> dict[nn.Parameter, tuple[str, SplitWeight]]:
        splits = {}
        assigned = self._plan.divide_part(self._network, name, self._masks, paths)
        for layer, group in assigned.items():
            # A part without such a layer has nothing that a rule could divide.
            self.reasons[name] = reason
            weight = self._network.get_submodule(layer).get_parameter("weight")
            mine = nn.Parameter(weight.detach().clone(), weight.requires_grad)
            key = layer.replace(".", "/")
            self.weights[key] = SplitWeight(mine, group)
            splits[weight] = (key, self.weights[key])
        return splits
