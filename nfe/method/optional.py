"""What few methods need: optional interfaces beside ``Method``, each with what is usual else.

A method that needs one names it among its bases and overrides what it changes. The engine asks
``Phases.of(method)`` and the like: the method itself, or else a plain object that does the usual.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from nfe.backbones import Architecture
    from nfe.method.context import Context
    from nfe.method.optimizer import Optimizer
    from nfe.method.recipe import Recipe
    from nfe.method.step import Step


class Optional:
    """Base of the optional interfaces."""

    @classmethod
    def of(cls, method: object) -> Self:
        """Return the method, where it has this interface, or an object that does the usual."""
        return method if isinstance(method, cls) else cls()


class FormsBatches(Optional):
    """A method that trains on something else than a batch of distinct images."""

    def training_batch(
        self, images: Tensor, labels: Tensor, draws: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """Form what the network is trained on from one batch of distinct images.

        ``draws`` is a generator on the images' device, at a stream of its own for each step.
        Targets have the shape (rows,) or (rows, members).
        """
        return images, labels


class Phases(Optional):
    """A method whose training changes along the run."""

    def learning_rate(self, recipe: Recipe, step: Step) -> float:
        """Return the learning rate of a step; by default the recipe's."""
        return recipe.learning_rate(step)

    def kind(self, step: Step) -> int:
        """Return a number that steps share which compute the same, and so cost as much.

        A run's multiply-adds are counted once for each kind, and a GPU records each.
        """
        return 0

    def kinds(self, step: Step) -> list[tuple[Step, int]]:
        """Return the first step of each kind, and how many there are of it.

        Of the whole run that ``step`` is of; in the order in which they come.
        """
        found: dict[int, tuple[Step, int]] = {}
        for number in range(step.steps):
            moment = type(step)(number, step.steps, step.per_epoch)
            first, count = found.get(kind := self.kind(moment), (moment, 0))
            found[kind] = first, count + 1
        return list(found.values())

    def before_step(self, network: nn.Module, step: Step) -> None:
        """Make the network ready for a step, from ``step`` alone.

        Also called when a run continues, for the last step that was taken, so that what is
        set here need not be saved.
        """

    def after_step(self, network: nn.Module, optimizer: Optimizer, step: Step) -> None:
        """Change the network or the optimizer's state after a step, without autograd.

        The step's gradients are still there. Changes must be functions of them, of what is
        saved with the network and the optimizer, and of ``step``, or a run that continues
        would end differently.
        """


class GroupsParameters(Optional):
    """A method that does not treat all parameters alike."""

    def parameter_groups(self, network: nn.Module, recipe: Recipe) -> list[dict[str, Any]]:
        """Return the optimizer's parameter groups; by default all parameters alike.

        A group may have its own ``weight_decay``, an ``lr_factor`` of the learning rate or a
        ``fixed_lr`` in its place, and ``algorithm`` ``"adam"`` in place of the recipe's.
        """
        return [{"params": list(network.parameters())}]


class DrawsOnCpu(Optional):
    """A method whose recorded steps need draws, or differ by more than tensors' contents."""

    def draw(self, network: nn.Module, inputs: Tensor) -> None:
        """Draw what a step needs beside its batch, on the CPU, from PyTorch's global stream.

        What is drawn is left with the network, in memory that stays the same from step to step
        where the network is on a GPU.
        """


class EarlyExits(Optional):
    """A method whose members are exits that come one after the other."""

    def exit_macs(self, network: nn.Module, image: Tensor) -> list[int]:
        """Return the MACs on non-zero weights of an image that stops at each member.

        Empty where members are no such exits. ``image`` is one image, (1, channels, h, w).
        """
        return []


class DividesWeights(Optional):
    """A method that divides one network's weights over its members."""

    def live_weights(self, network: nn.Module, image: Tensor) -> float | None:
        """Return the share of the divided weights that could have a gradient before training.

        Of the trained network; None where no weights are divided. ``image`` is one image,
        (1, channels, h, w).
        """
        return None


class LooksAtData(Optional):
    """A method whose network depends on data, or takes much memory to build."""

    def skeleton(self, context: Context) -> nn.Module:
        """Return the network that saved weights are loaded into; there is no data to look at."""
        raise NotImplementedError

    def building_mb(
        self, architecture: Architecture, channels: int, classes: int, resolution: int
    ) -> int:
        """Return the memory that building the network takes, where that is much, in MB."""
        return 0
