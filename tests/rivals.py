"""What the tests of the rivals share: contexts, and tensors of one network given to another."""

from typing import Any

import torch
from torch import Tensor, nn

from nfe.backbones import architecture
from nfe.method import Context, Method, method_class

RIVALS = [
    "mimo",
    "batch_ensemble",
    "exit_ensemble_distillation",
    "beed",
    "sembg",
    "treenet",
    "narrow_ensemble",
    "packed_ensemble",
    "mc_dropout",
    "snapshot",
    "mixmo",
    "dst",
    "edst",
    "prune_and_tune",
    "local_critic",
    "oskd",
    "self_distilled",
    "subnetwork_ensemble",
    "swag",
    "ffl",
    "slimmable",
    "mutualnet",
    "laplace",
    "hydra",
    "stochastic_depth",
    "partially_masked",
]


def context(name: str, *, channels: int = 3, classes: int = 5, resolution: int = 16) -> Context:
    def no_example(_: int) -> tuple[Tensor, Tensor]:
        raise AssertionError("these methods do not look at data")

    return Context(architecture(name), channels, classes, resolution, 0, no_example)


def method(name: str, backbone: str = "wrn-10-2", **settings: Any) -> Method:
    return method_class(name).from_settings(settings).resolved(architecture(backbone))


def network(name: str, backbone: str = "wrn-10-2", **settings: Any) -> nn.Module:
    torch.manual_seed(0)
    return method(name, backbone, **settings).network(context(backbone))


def unsettle_norms(module: nn.Module) -> None:
    """Give every batch norm statistics and an affine part that are not trivial."""
    for layer in module.modules():
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.normal_(layer.running_mean, std=0.1)
            nn.init.uniform_(layer.running_var, 0.5, 1.5)
            nn.init.normal_(layer.weight, 1, 0.1)
            nn.init.normal_(layer.bias, std=0.1)
