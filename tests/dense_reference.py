"""Network fission written the obvious way: a separate masked copy of every layer for each path.

Independent of nfe.splitting.network: it only takes the group tensors and the parts of the network.
"""

import copy

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class DenseFission(nn.Module):
    """Full dense weights per path, multiplied by a 0/1 mask after every step."""

    def __init__(
        self, parts, groups: dict[str, Tensor], exit_stages, inplace: bool = False
    ) -> None:
        super().__init__()
        self.exits, self.depth = len(exit_stages) + 1, len(parts.stages)
        self.leave = [*exit_stages, self.depth]
        self.masks: list[tuple[nn.Parameter, Tensor]] = []
        self.layers: dict[tuple[str, int], nn.Module] = {}
        self.stem = self._part(parts, "stem", self.exits, groups)
        self.paths = nn.ModuleDict()
        for stage in range(self.depth):
            left = [k for k in range(1, self.exits) if self.leave[k - 1] <= stage]
            for path in [*left, self.exits]:
                part = self._part(parts, f"stages.{stage}", path, groups)
                self.paths[f"{stage}/{path}"] = part
        self.heads = nn.ModuleList(
            self._part(parts, "head", k, groups) for k in range(1, self.exits + 1)
        )
        self.apply_masks()

    def _part(self, parts, name: str, path: int, groups) -> nn.Module:
        part = copy.deepcopy(parts.get_submodule(name))
        for module in part.modules():
            if hasattr(module, "inplace"):
                module.inplace = False
        for layer, group in groups.items():
            if f"{layer}.".startswith(f"{name}."):
                module = part.get_submodule(layer[len(name) :].lstrip("."))
                self.masks.append((module.weight, group == path))
                self.layers[layer, path] = module
        return part

    @torch.no_grad()
    def apply_masks(self) -> None:
        for weight, mask in self.masks:
            weight.mul_(mask)

    def mask_gradients(self) -> None:
        for weight, mask in self.masks:
            weight.grad.mul_(mask)

    def forward(self, x: Tensor) -> Tensor:
        trunk, reached, out = self.stem(x), 0, []
        for path in range(1, self.exits + 1):
            while reached < self.leave[path - 1]:
                trunk = self.paths[f"{reached}/{self.exits}"](trunk)
                reached += 1
            own = trunk
            for stage in range(self.leave[path - 1], self.depth):
                own = self.paths[f"{stage}/{path}"](own)
            out.append(self.heads[path - 1](own))
        return torch.stack(out, dim=1)


def dense_loss(logits: Tensor, labels: Tensor, temperature: float = 3.0) -> Tensor:
    """The loss of the paper, exit by exit, with PyTorch's own KL divergence."""
    teacher = F.log_softmax(logits.detach().mean(dim=1) / temperature, dim=-1)
    loss = torch.zeros((), dtype=logits.dtype)
    for k in range(logits.shape[1]):
        student = F.log_softmax(logits[:, k] / temperature, dim=-1)
        divergence = F.kl_div(student, teacher, reduction="batchmean", log_target=True)
        loss = loss + F.cross_entropy(logits[:, k], labels) + temperature**2 * divergence
    return loss
