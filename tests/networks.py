"""Small networks for tests, with everything that fission has to cope with."""

import torch
import torchvision
from torch import nn
from torchvision.models.convnext import CNBlockConfig

from nfe.backbones import Backbone, Structure, architecture

CLASSES = 5


class Slim(Structure):
    """An eighth of the plain width."""

    def width(self, stage: int, plain: int, groups: int = 1) -> int:
        return max(plain // 8, groups)


def slim(name: str, resolution: int = 32) -> Backbone:
    build = architecture(name).build
    return build(channels=3, classes=CLASSES, resolution=resolution, structure=Slim())


def wide_resnet() -> Backbone:
    return slim("wrn-10-1", 8)


def convnext() -> nn.Module:
    """Linear layers inside stages, depthwise convolutions, layer norms, stochastic depth."""
    widths = [(8, 12), (12, 16), (16, 20), (20, None)]
    blocks = [CNBlockConfig(width, after, 1) for width, after in widths]
    network = torchvision.models.ConvNeXt(blocks, stochastic_depth_prob=0.5, num_classes=CLASSES)
    for module in network.modules():
        if hasattr(module, "layer_scale"):
            nn.init.normal_(module.layer_scale)
    return network


class Plain(nn.Module):
    """No stem, stages or head: what ``stages=`` is for. Grouped convolutions, dropout, in-place."""

    def __init__(self, width: int = 8) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, width, 3, padding=1)
        self.one = nn.Sequential(nn.ReLU(inplace=True), nn.Conv2d(width, width, 3, padding=1))
        self.two = nn.Sequential(
            nn.ReLU(inplace=True), nn.Conv2d(width, width, 3, padding=1, groups=2), nn.Dropout(0.3)
        )
        self.three = nn.Sequential(nn.ReLU(inplace=True), nn.Conv2d(width, width, 1))
        self.hidden = nn.Linear(width, 12)
        self.last = nn.Linear(12, CLASSES)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.three(self.two(self.one(self.first(x))))
        x = torch.relu(self.hidden(x.mean(dim=(2, 3))))
        return self.last(x)


PLAIN_STAGES = ["one", "two", "three"]
