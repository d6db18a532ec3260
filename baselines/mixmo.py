"""MixMo (Ramé et al., ICCV 2021): two inputs, mixed as features, and two outputs."""

from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from baselines.settings.mixmo import MixMoSettings
from nfe.backbones import Backbone
from nfe.common.precision import exact
from nfe.method import Context, DrawsOnCpu, FormsBatches, Method, Phases, Step

# Inputs and outputs, as in the paper's networks.
MEMBERS = 2
# Share of the run after which patches give way to linear mixing.
PATCHES_UNTIL = 11 / 12


class TwoInputs(nn.Module):
    """A backbone with a stem for each of two inputs and 2 × classes outputs.

    Attributes:
        stems: the two stems.
        stages: the stages, shared.
        head: the head, the first member's classes first.
        size: height and width of the stems' features.
        patch: probability that a batch is mixed by patches, at the run's present step.
        maps: the present step's mixing maps (rows, 1, *size), None before the first.
    """

    def __init__(self, backbone: Backbone, second: nn.Module, image: Tensor) -> None:
        super().__init__()
        with torch.no_grad():
            height, width = backbone.eval().stem(image).shape[-2:]
        backbone.train()
        self.stems = nn.ModuleList([backbone.stem, second])
        self.stages, self.head = backbone.stages, backbone.head
        self.size = (height, width)
        self.patch = 0.0
        self.maps: Tensor | None = None

    def mix_by(self, maps: Tensor, device: torch.device) -> None:
        """Let ``maps``, drawn on the CPU, be the step's; on a GPU always in the same memory."""
        if device.type == "cpu":
            self.maps = maps
            return
        if self.maps is None or self.maps.shape != maps.shape:
            self.maps = torch.empty(maps.shape, device=device)
        # From page-locked memory, or the copy would wait for the GPU.
        self.maps.copy_(maps.contiguous().pin_memory(), non_blocking=True)

    def forward(self, x: Tensor, maps: Tensor | None = None) -> Tensor:
        """Return logits (rows, 2, classes).

        Args:
            x: (rows, 2 × channels, h, w) with ``maps``, else (rows, channels, h, w): the same
                image at both inputs.
            maps: (rows, 1, *size), how much of the first input is in the mixture where; none
                for half of each everywhere.
        """
        if maps is None:
            features = self.stems[0](x) + self.stems[1](x)
        else:
            first, second = (s(part) for s, part in zip(self.stems, x.chunk(2, 1), strict=True))
            features = 2 * (maps * first + (1 - maps) * second)
        for stage in self.stages:
            features = stage(features)
        logits: Tensor = self.head(features).unflatten(1, (MEMBERS, -1))
        return logits


def boxes(shares: Tensor, centres: Tensor, size: tuple[int, int]) -> Tensor:
    """Return maps that are 1 in a box, 0 around it: CutMix (Yun et al., ICCV 2019).

    Args:
        shares: (rows,), of the area that the box takes before it is clipped at the borders.
        centres: (rows, 2), the box's centre, row and column.
        size: height and width of the maps.

    Returns:
        (rows, 1, height, width).
    """
    inside = []
    for axis, side in enumerate(size):
        half = (shares.sqrt() * side).long() // 2
        centre, place = centres[:, axis], torch.arange(side)
        inside.append((place >= (centre - half)[:, None]) & (place < (centre + half)[:, None]))
    return (inside[0][:, :, None] & inside[1][:, None, :])[:, None].float()


def draw_maps(rows: int, size: tuple[int, int], patch: float, alpha: float) -> Tensor:
    """Draw mixing maps (rows, 1, *size) on the CPU, from PyTorch's global stream.

    λ ~ Beta(α, α) for each row. All rows together are, with probability ``patch``, boxes of
    area λ, and then with probability 1/2 the rest around them; else they are λ everywhere.
    """
    shares = torch.distributions.Beta(alpha, alpha).sample((rows,))
    centres = torch.stack([torch.randint(side, (rows,)) for side in size], dim=1)
    by_patch, swapped = torch.rand(2) < torch.tensor([patch, 0.5])
    if not by_patch:
        return shares[:, None, None, None].expand(rows, 1, *size)
    maps = boxes(shares, centres, size)
    return 1 - maps if swapped else maps


def weights(maps: Tensor, root: float) -> Tensor:
    """Return the members' loss weights (rows, 2): 2 λ_i^(1/r) / Σ_j λ_j^(1/r), λ the maps' means.

    Args:
        maps: (rows, 1, h, w).
        root: r.
    """
    first = maps.mean(dim=(1, 2, 3))
    raised = torch.stack([first, 1 - first], dim=1).clamp_min(0) ** (1 / root)
    return MEMBERS * raised / raised.sum(dim=1, keepdim=True)


class MixMo(MixMoSettings, FormsBatches, Phases, DrawsOnCpu, Method):
    """Two images per row, mixed behind their stems, each to be told by its own output."""

    combine = "logits"
    capturable = True

    def network(self, context: Context) -> nn.Module:
        """Return the backbone with a second stem and twice the outputs."""
        backbone = context.backbone(classes=MEMBERS * context.classes)
        return TwoInputs(backbone, context.backbone().stem, context.image())

    def training_batch(
        self, images: Tensor, labels: Tensor, draws: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """Return rows of two images side by side on the channels, and targets (rows, 2)."""
        repeated = torch.arange(self.repetition * len(labels), device=labels.device) % len(labels)
        columns = [
            repeated[torch.randperm(len(repeated), generator=draws, device=labels.device)]
            for _ in range(MEMBERS)
        ]
        inputs = torch.cat([images[column] for column in columns], dim=1)
        return inputs, torch.stack([labels[column] for column in columns], dim=1)

    def before_step(self, network: nn.Module, step: Step) -> None:
        """Let the probability of patches fall linearly to 0 over the last twelfth of the run."""
        left = (1 - step.number / step.steps) / (1 - PATCHES_UNTIL)
        cast(TwoInputs, network).patch = self.patch * min(1.0, left)

    def draw(self, network: nn.Module, inputs: Tensor) -> None:
        """Draw the rows' mixing maps."""
        made = cast(TwoInputs, network)
        made.mix_by(draw_maps(len(inputs), made.size, made.patch, self.alpha), inputs.device)

    def loss(self, network: nn.Module, inputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Return Σ_i w_i CE(z_i, y_i), mean over rows; w follows the mixing ratio of ``draw``."""
        maps = cast(Tensor, cast(TwoInputs, network).maps)
        logits: Tensor = network(inputs, maps)
        each = F.cross_entropy(
            exact(logits).flatten(0, 1), targets.flatten(), reduction="none"
        ).view_as(targets)
        return (weights(maps, self.root) * each).sum(dim=1).mean(), logits
