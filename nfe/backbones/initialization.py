"""The initializations shared by the backbones."""

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


def truncated_normal(network: Network) -> Network:
    """Draw every convolution and linear layer from N(0, 0.02²), cut at ±2; zero the biases.

    As ViT, DeiT and ConvNeXt do; norms keep scale 1 and shift 0.
    """
    for module in network.modules():
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            nn.init.trunc_normal_(module.weight, std=0.02)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    return network
