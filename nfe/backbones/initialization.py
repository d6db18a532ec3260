"""The initialization shared by the backbones."""

from typing import TypeVar

from torch import nn

Network = TypeVar("Network", bound=nn.Module)


def kaiming_normal_fan_out(network: Network) -> Network:
    """Draw every convolution from N(0, 2 / fan_out) (He et al. 2015); zero the linear bias.

    Norms keep scale 1 and shift 0; linear weights keep PyTorch's default draw.
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        if isinstance(module, (nn.Conv2d, nn.Linear)) and module.bias is not None:
            nn.init.zeros_(module.bias)
    return network
