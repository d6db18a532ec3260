"""A plain vision transformer for small images (Dosovitskiy et al., ICLR 2021).

The tiny size (192 channels, 3 heads, 12 blocks) is DeiT's (Touvron et al., ICML 2021); mean pooling
in the place of a class token, and positions by sine and cosine that are not trained, are those of
Beyer et al., arXiv 2205.01580. What is ours: four stages of three blocks, with maps (batch,
channels, height, width) between them, so that what is defined on maps is defined here, too.

PyTorch's ``MultiheadAttention``, and torchvision's ``EncoderBlock`` with it, keep three matrices in
one parameter of no layer: here attention is made of linear layers, which can be divided.
"""

from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nfe.backbones.backbone import Backbone
from nfe.backbones.initialization import truncated_normal
from nfe.backbones.structure import Structure
from nfe.common.errors import InputError

WIDTH, HEADS, BLOCKS, STAGES = 192, 3, 12, 4
# Hidden width of a block's perceptron, of the width.
_EXPANSION = 4
_EPSILON = 1e-6


class Attention(nn.Module):
    """Multi-head self-attention over the places of a map."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, h, w, width) to the same shape."""
        size = x.shape[1:3]
        # (batch, places, 3 · heads · width / heads) to 3 × (batch, heads, places, width / heads)
        q, k, v = self.qkv(x).flatten(1, 2).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        return cast(Tensor, self.proj(mixed.unflatten(1, size)))


class Block(nn.Module):
    """Attention, then a perceptron, each behind a norm and beside a shortcut."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=_EPSILON)
        self.attention = Attention(width, heads)
        self.norm2 = nn.LayerNorm(width, eps=_EPSILON)
        hidden = _EXPANSION * width
        self.mlp = nn.Sequential(nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, width))

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, h, w, width) to the same shape."""
        x = x + self.attention(self.norm1(x))
        return x + cast(Tensor, self.mlp(self.norm2(x)))


def positions(side: int, width: int) -> Tensor:
    """Return sines and cosines of each place's row and column, (1, width, side, side).

    A quarter of the channels each: sin x, cos x, sin y, cos y, of frequencies from 1 to 1 / 10,000
    (Beyer et al., arXiv 2205.01580).
    """
    count = width // 4
    frequencies = 10_000 ** -(torch.arange(count, dtype=torch.float64) / (count - 1))
    angles = torch.arange(side, dtype=torch.float64)[None] * frequencies[:, None]
    columns = angles[:, None, :].expand(count, side, side)
    rows = angles[:, :, None].expand(count, side, side)
    return torch.cat([columns.sin(), columns.cos(), rows.sin(), rows.cos()])[None].float()


class _Positions(nn.Module):
    """Adds each place's position."""

    position: Tensor

    def __init__(self, side: int, width: int) -> None:
        super().__init__()
        self.register_buffer("position", positions(side, width), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Add to maps (batch, width, side, side)."""
        return x + self.position


def vit_tiny(
    patch: int, *, channels: int, classes: int, resolution: int, structure: Structure
) -> Backbone:
    """Return ViT-tiny in four stages; weights from N(0, 0.02²), truncated, biases 0.

    The patch embedding is drawn with variance 1 / inputs, as in Beyer et al. and torchvision's ViT.

    Args:
        patch: side of the patches in pixels.
        channels: image channels.
        classes: number of classes.
        resolution: image side in pixels.
        structure: the plain one.

    Raises:
        InputError: the patches do not divide the image, or other widths or groups are asked for.
    """
    from torchvision.models.convnext import LayerNorm2d
    from torchvision.ops import Permute

    name = f"vit-tiny-{patch}"
    structure.require_plain(name)
    if resolution % patch:
        raise InputError(
            f"architecture {name!r}: resolution is {resolution}: allowed: multiples of {patch}"
        )
    embed = nn.Conv2d(channels, WIDTH, patch, patch)
    stem = nn.Sequential(embed, _Positions(resolution // patch, WIDTH))
    stages: list[nn.Module] = [
        nn.Sequential(
            Permute([0, 2, 3, 1]),
            *(Block(WIDTH, HEADS) for _ in range(BLOCKS // STAGES)),
            Permute([0, 3, 1, 2]),
        )
        for _ in range(STAGES)
    ]
    head = nn.Sequential(
        LayerNorm2d(WIDTH, eps=_EPSILON),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(WIDTH, classes),
    )
    backbone = truncated_normal(Backbone(stem, stages, head))
    # As large as the positions, which would drown the image else.
    nn.init.trunc_normal_(embed.weight, std=(channels * patch**2) ** -0.5)
    return backbone
