"""Training as most public repositories do it: what our engine's speed is compared with.

A DataLoader whose workers crop, flip and normalize image by image with torchvision on PIL
images; float32; NCHW; eager; every path of a fissioned network a set of dense tensors of its
own; ``torch.optim.SGD`` as it comes; loss and accuracy read after every step. The network is
the engine's own backbone, so both sides execute the same multiply-adds.
"""

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from nfe import fission
from nfe.backbones import architecture

CLASSES = 100
TEMPERATURE = 3.0
MEAN, STD = (0.5071, 0.4867, 0.4408), (0.2675, 0.2565, 0.2761)


class ImageFolderLike(Dataset[tuple[Tensor, int]]):
    """Images in memory as arrays, made PIL images and transformed one by one, as in CIFAR's."""

    def __init__(self, images: Tensor) -> None:
        """Take uint8 images (count, channels, height, width)."""
        self._arrays = images.permute(0, 2, 3, 1).contiguous().numpy()
        self._transform = transforms.Compose(
            [
                transforms.RandomCrop(images.shape[-1], padding=4),
                transforms.RandomHorizontalFlip(),
                transforms.ToTensor(),
                transforms.Normalize(MEAN, STD),
            ]
        )

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self._arrays)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        """Return one augmented image and its label."""
        return self._transform(Image.fromarray(self._arrays[index])), index % CLASSES


def network(name: str, exits: int, pixels: int) -> nn.Module:
    """Return a network with logits (batch, exits, classes), dense tensors for every path."""
    torch.manual_seed(0)
    single = architecture(name).build(channels=3, classes=CLASSES, resolution=pixels)
    if exits == 1:
        return nn.Sequential(single, nn.Unflatten(1, (1, CLASSES)))
    return fission(single, exits).materialized()


def loss_of(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the cross-entropies and, with several exits, the distillation from their mean."""
    exits = logits.unbind(1)
    loss = sum((F.cross_entropy(z, labels) for z in exits), start=logits.new_zeros(()))
    if len(exits) > 1:
        teacher = F.softmax(logits.mean(1).detach() / TEMPERATURE, dim=1)
        for z in exits:
            student = F.log_softmax(z / TEMPERATURE, dim=1)
            loss = loss + TEMPERATURE**2 * F.kl_div(student, teacher, reduction="batchmean")
    return loss


class CommonRecipe:
    """The training loop; ``step`` takes one optimizer step."""

    def __init__(
        self,
        name: str,
        exits: int,
        images: Tensor,
        batch: int,
        device: torch.device,
        workers: int,
    ) -> None:
        self._device = device
        self._network = network(name, exits, images.shape[-1]).to(device).train()
        self._loader = DataLoader(
            ImageFolderLike(images),
            batch,
            shuffle=True,
            num_workers=workers,
            drop_last=True,
            pin_memory=device.type == "cuda",
            persistent_workers=workers > 0,
        )
        self._optimizer = torch.optim.SGD(
            self._network.parameters(), lr=0.1, momentum=0.9, nesterov=True, weight_decay=5e-4
        )
        self._batches = self._endless()
        self.loss_sum, self.correct = 0.0, 0

    def _endless(self) -> Iterator[tuple[Tensor, Tensor]]:
        while True:
            yield from self._loader

    def step(self) -> None:
        """Take the next batch and one optimizer step."""
        images, labels = next(self._batches)
        images = images.to(self._device, non_blocking=True)
        labels = labels.to(self._device, non_blocking=True)
        self._optimizer.zero_grad()
        logits = self._network(images)
        loss = loss_of(logits, labels)
        loss.backward()
        self._optimizer.step()
        self.loss_sum += loss.item()
        self.correct += (logits.mean(1).argmax(1) == labels).sum().item()
