"""Network Fission Ensembles as a method of the benchmark."""

import dataclasses
import functools
import json
from typing import cast

import torch
from torch import Tensor, nn

from nfe import pruning
from nfe.backbones import Architecture, architecture, recorded
from nfe.fission_settings import FissionSettings
from nfe.losses import fission_loss
from nfe.method import Context, DividesWeights, EarlyExits, LooksAtData, Method
from nfe.splitting import early_exit
from nfe.splitting.compact.network import CompactNetwork
from nfe.splitting.compact.pruning import mask_nothing
from nfe.splitting.exit_network import ExitNetwork
from nfe.splitting.heads import draw_heads
from nfe.splitting.live import live_share
from nfe.splitting.network import fission


@functools.cache
def _scoring_mb(
    name: str, record: str, size: tuple[int, int, int], pruning_name: str, per_class: int
) -> int:
    """Return the memory of scoring a backbone for (channels, classes, resolution)."""
    channels, classes, resolution = size
    told = json.loads(record)
    found = recorded(name, told) if told else architecture(name)
    backbone = found.untrained().build(channels=channels, classes=classes, resolution=resolution)
    image = torch.zeros(1, channels, resolution, resolution)
    return pruning.memory_mb(backbone, image, per_class * classes, pruning_name)


class NetworkFission(FissionSettings, LooksAtData, DividesWeights, EarlyExits, Method):
    """Prune at initialization, split the weights over exits, distil from the ensemble."""

    combine = "logits"
    lifts = True
    capturable = True

    def building_mb(
        self, architecture: Architecture, channels: int, classes: int, resolution: int
    ) -> int:
        """Return what scores by labelled images take."""
        size = (channels, classes, resolution)
        return _scoring_mb(
            architecture.name,
            json.dumps(architecture.record),
            size,
            self.pruning,
            self.pruning_images,
        )

    def network(self, context: Context) -> nn.Module:
        """Return the fissioned backbone, scored and grouped on its very initial weights.

        Scores see the backbone's own head, which is the final exit's; the other exits' heads
        are drawn separately.
        """
        needs_data = self.pruning in pruning.NEED_DATA
        network = fission(
            context.backbone(),
            self.exits,
            sparsity=self.sparsity,
            pruning=self.pruning,
            ratio=self.ratio,
            exit_stages=self.exit_stages,
            grouping=self.grouping,
            granularity=self.granularity,
            scope=self.scope,
            whole=self.whole,
            example=context.example(self.pruning_images) if needs_data else None,
            seed=context.seed,
            unit=self.unit,
            shared_norm=self.shared_norm,
            prune_channels=self.prune_channels,
        )
        draw_heads(list(network.heads), context.seed)
        return network

    def skeleton(self, context: Context) -> nn.Module:
        """Return the network unpruned: which weights are left stands in the saved weights.

        Of pruned channels only the number stands in the layout: any scores will do.
        """
        if self.prune_channels:
            return dataclasses.replace(self, pruning="magnitude").network(context)
        network = dataclasses.replace(self, pruning="none", sparsity=0.0).network(context)
        if self.sparsity > 0 and isinstance(network, CompactNetwork):
            mask_nothing(network)
        return network

    def live_weights(self, network: nn.Module, image: Tensor) -> float:
        """Return the share of the surviving weights that some gradient can reach."""
        return live_share(cast(ExitNetwork, network), image)

    def exit_macs(self, network: nn.Module, image: Tensor) -> list[int]:
        """Return what an image costs that stops at each exit."""
        return early_exit.exit_macs(cast(ExitNetwork, network), image)

    def loss(self, network: nn.Module, inputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Return Σ_i CE_i plus the distillation term, and the exits' logits."""
        logits: Tensor = network(inputs)
        return fission_loss(logits, targets, self.temperature, self.distillation), logits
