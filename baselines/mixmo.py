"""MixMo (Ramé et al., ICCV 2021): two inputs, mixed as features, and two outputs."""

from dataclasses import dataclass
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from baselines.settings.mixmo import MixMoSettings
from baselines.shared.maps import check_maps
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
        mixture: the present step's draws, None before the first; on a GPU always in the same
            memory.
    """

    def __init__(self, backbone: Backbone, second: nn.Module, image: Tensor) -> None:
        super().__init__()
        with torch.no_grad():
            features = backbone.eval().stem(image)
        check_maps(features.shape)
        height, width = features.shape[-2:]
        backbone.train()
        self.stems = nn.ModuleList([backbone.stem, second])
        self.stages, self.head = backbone.stages, backbone.head
        self.size = (height, width)
        self.patch = 0.0
        self.mixture: Mixture | None = None

    def mix_by(self, drawn: "Mixture", device: torch.device) -> None:
        """Let what was drawn on the CPU be the step's."""
        if device.type == "cpu":
            self.mixture = drawn
            return
        if self.mixture is None or self.mixture.rows.shape != drawn.rows.shape:
            self.mixture = Mixture(torch.empty(drawn.rows.shape, device=device))
        # From page-locked memory, or the copy would wait for the GPU.
        self.mixture.rows.copy_(drawn.rows.pin_memory(), non_blocking=True)

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


@dataclass(frozen=True)
class Mixture:
    """A step's draws: small, for maps are made where the network is.

    Attributes:
        rows: (rows, 6), of each row: the first row of its box and the one behind the last, the
            same for columns, and how much of the first input is inside the box, and around it.
        linear: whether all of this is the same everywhere, which saves a CPU the boxes.
    """

    rows: Tensor
    linear: bool = False

    def maps(self, size: tuple[int, int]) -> Tensor:
        """Return the mixing maps (rows, 1, *size)."""
        inside, around = self.rows[:, 4:].contiguous().unbind(1)
        if self.linear:
            return inside[:, None, None, None].expand(len(inside), 1, *size)
        height, width = (
            _between(self.rows[:, 2 * axis, None], self.rows[:, 2 * axis + 1, None], side)
            for axis, side in enumerate(size)
        )
        box = height[:, :, None] & width[:, None, :]
        return torch.where(box, inside[:, None, None], around[:, None, None])[:, None]


def _between(first: Tensor, end: Tensor, side: int) -> Tensor:
    """Return whether each of ``side`` places is from ``first`` to before ``end``."""
    place = torch.arange(side, device=first.device)
    return (place >= first) & (place < end)


def edges(shares: Tensor, centres: Tensor, size: tuple[int, int]) -> Tensor:
    """Return the edges of boxes as in CutMix (Yun et al., ICCV 2019).

    Args:
        shares: (rows,), of the area that the box takes before it is clipped at the borders.
        centres: (rows, 2), the box's centre, row and column.
        size: height and width of the maps.

    Returns:
        (rows, 4): first row, the one behind the last, first column, the one behind the last.
    """
    halves = torch.stack([(shares.sqrt() * side).long() // 2 for side in size], dim=1)
    return torch.stack([centres - halves, centres + halves], dim=2).flatten(1).float()


def draw_mixture(rows: int, size: tuple[int, int], patch: float, alpha: float) -> Mixture:
    """Draw how rows are mixed on the CPU, from PyTorch's global stream.

    λ ~ Beta(α, α) for each row. All rows together are, with probability ``patch``, boxes of
    area λ, and then with probability 1/2 the rest around them; else they are λ everywhere.
    """
    shares = torch.distributions.Beta(alpha, alpha, validate_args=False).sample((rows,))
    centres = torch.stack([torch.randint(side, (rows,)) for side in size], dim=1)
    by_patch, swapped = (torch.rand(2) < torch.tensor([patch, 0.5])).tolist()
    inside = torch.full((rows,), float(not swapped)) if by_patch else shares
    around = 1 - inside if by_patch else shares
    places = edges(shares, centres, size)
    values = torch.stack([inside, around], dim=1)
    return Mixture(torch.cat([places, values], dim=1), linear=not by_patch)


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
        drawn = draw_mixture(len(inputs), made.size, made.patch, self.alpha)
        made.mix_by(drawn, inputs.device)

    def loss(self, network: nn.Module, inputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Return Σ_i w_i CE(z_i, y_i), mean over rows; w follows the mixing ratio of ``draw``."""
        made = cast(TwoInputs, network)
        maps = cast(Mixture, made.mixture).maps(made.size)
        logits: Tensor = network(inputs, maps)
        each = F.cross_entropy(
            exact(logits).flatten(0, 1), targets.flatten(), reduction="none"
        ).view_as(targets)
        return (weights(maps, self.root) * each).sum(dim=1).mean(), logits
