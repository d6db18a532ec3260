"""A method is one small class: the interface between a method and the engine."""

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import entry_points
from typing import Any, ClassVar, Literal, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nfe.backbones import Architecture, Backbone, Structure
from nfe.common.errors import InputError, unknown
from nfe.common.settings import parse
from nfe.method.checks import check_class
from nfe.method.optimizer import SGD
from nfe.method.recipe import Recipe
from nfe.method.sequential import SequentialMembers
from nfe.method.step import Step


@dataclass(frozen=True)
class Context:
    """What a method may use to build its network.

    Attributes:
        architecture: the backbone's name, number of stages and builder.
        channels: image channels.
        classes: number of classes.
        resolution: image side in pixels.
        seed: the run's seed, for further random streams of the method's own.
        example: returns ``per_class`` normalized training images of each class and their
            labels, for methods that look at data before training.
    """

    architecture: Architecture
    channels: int
    classes: int
    resolution: int
    seed: int
    example: Callable[[int], tuple[Tensor, Tensor]]

    def backbone(
        self,
        *,
        channels: int | None = None,
        classes: int | None = None,
        structure: Structure | None = None,
    ) -> Backbone:
        """Return a freshly initialized backbone.

        On request with other inputs or outputs, or with other widths and groups.

        The run's initialization stream is in force, so the first backbone that a method
        builds starts from the same weights whatever the method.
        """
        return self.architecture.build(
            channels=channels or self.channels,
            classes=classes or self.classes,
            resolution=self.resolution,
            structure=structure or Structure(),
        )

    def image(self) -> Tensor:
        """Return a blank image (1, channels, resolution, resolution), to see shapes with."""
        return torch.zeros(1, self.channels, self.resolution, self.resolution)


class Method(ABC):
    """Base of every method. Subclasses are frozen dataclasses: their fields are the settings.

    Attributes:
        version: raised whenever the method's arithmetic changes on purpose.
        combine: how members become one prediction: ``"logits"`` averages logits and then
            takes the softmax, ``"probabilities"`` averages the members' softmax.
        published: what the method's own paper changes in the recipe, plus ``epochs``.
        published_settings: settings in which the paper departs from the class's defaults.
        member_method: set by a method that trains nothing itself but combines several runs
            of that method (see ``member_seeds``).
        lifts: whether ``loss`` itself brings the network's outputs to float32, once for each of
            its terms (``nfe.common.precision.exact``): each term's gradient then returns in the
            network's type. Else the engine does, before the loss.
        version: raised whenever the method's arithmetic changes on purpose; part of the identity
            of its runs.
        capturable: whether a GPU may record a step's loss and gradients once and replay them.
            Then network and ``loss`` must do the same at every step as far as Python decides it:
            they neither read a tensor's values on the host nor draw on it (see ``draw``), and
            whatever else changes them is named by ``recorded``. Else steps run one operation at a
            time.
    """

    combine: ClassVar[Literal["logits", "probabilities"]] = "probabilities"
    published: ClassVar[Mapping[str, Any]] = {}
    published_settings: ClassVar[Mapping[str, Any]] = {}
    member_method: ClassVar[str | None] = None
    lifts: ClassVar[bool] = False
    version: ClassVar[int] = 1
    capturable: ClassVar[bool] = False

    @classmethod
    def from_settings(cls, values: Mapping[str, Any]) -> Self:
        """Return the method with ``values`` as settings, converted to the fields' types."""
        return cls(**parse(cls, values, "setting of the method"))

    def resolved(self, architecture: Architecture) -> Self:
        """Return the method with every default spelled out for ``architecture``.

        Raises:
            InputError: the settings and the architecture do not fit.
        """
        return self

    def settings(self) -> dict[str, Any]:
        """Return the settings as JSON values."""
        fields = dataclasses.fields(self)  # type: ignore[arg-type]
        values = {field.name: getattr(self, field.name) for field in fields}
        return {k: list(v) if isinstance(v, tuple) else v for k, v in values.items()}

    def member_seeds(self, seed: int) -> list[int]:
        """Return the seeds of the runs of ``member_method`` that replicate ``seed`` combines."""
        return []

    def training_passes(self, architecture: Architecture) -> float:
        """Return what an image of one epoch costs, in passes through one plain backbone.

        An estimate for plans and time limits, before anything is built; by default one. What a
        run really takes is counted in its first step.
        """
        return 1.0

    def building_mb(
        self, architecture: Architecture, channels: int, classes: int, resolution: int
    ) -> int:
        """Return the memory that building the network takes, where that is much; by default 0."""
        return 0

    def trainings(self) -> int:
        """Return how many times a run of this method takes its epochs, one after the other."""
        return 1

    @abstractmethod
    def network(self, context: Context) -> nn.Module:
        """Return the network: images (batch, channels, h, w) → logits (batch, members, classes)."""

    def skeleton(self, context: Context) -> nn.Module:
        """Return the network that saved weights are loaded into; there is no data to look at.

        A method whose network depends on data overrides it.
        """
        return self.network(context)

    def training_batch(
        self, images: Tensor, labels: Tensor, draws: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """Form what the network is trained on from one batch of distinct images.

        ``draws`` is a generator on the images' device, at a stream of its own for each step.
        Targets have the shape (rows,) or (rows, members).
        """
        return images, labels

    def draw(self, network: nn.Module, inputs: Tensor) -> None:
        """Draw what a step needs beside its batch, on the CPU, from PyTorch's global stream.

        What is drawn is left with the network, in memory that stays the same from step to step
        where the network is on a GPU.
        """
        return

    def recorded(self, network: nn.Module) -> Hashable:
        """Return what a step's operations depend on, beside the contents of tensors.

        By default the member in training (``SequentialMembers``). See ``capturable``.
        """
        return network.active if isinstance(network, SequentialMembers) else None

    def loss(self, network: nn.Module, inputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Return the scalar training loss and the logits (rows, members, classes).

        By default the members' mean cross-entropy, batch mean. ``network`` is to be called, as
        often and with whatever arguments its ``forward`` takes: it computes in the run's
        precision and answers in float32 (but see ``lifts``), so that losses are never computed in
        fewer bits.
        """
        logits: Tensor = network(inputs)
        rows, members, classes = logits.shape
        each = targets if targets.dim() == 2 else targets[:, None].expand(rows, members)
        loss = F.cross_entropy(logits.reshape(-1, classes), each.reshape(-1))
        return loss, logits

    def exit_macs(self, network: nn.Module, image: Tensor) -> list[int]:
        """Return the MACs on non-zero weights of an image that stops at each member.

        Empty, as by default, where members are no exits that come one after the other.
        ``image`` is one image, (1, channels, h, w).
        """
        return []

    def parameter_groups(self, network: nn.Module, recipe: Recipe) -> list[dict[str, Any]]:
        """Return the optimizer's parameter groups; by default all parameters alike.

        A group may have its own ``weight_decay``, an ``lr_factor`` of the learning rate or a
        ``fixed_lr`` in its place, and ``algorithm`` ``"adam"`` in place of SGD.
        """
        return [{"params": list(network.parameters())}]

    def learning_rate(self, recipe: Recipe, step: Step) -> float:
        """Return the learning rate of a step; by default the recipe's."""
        return recipe.learning_rate(step)

    def before_step(self, network: nn.Module, step: Step) -> None:
        """Make the network ready for a step, from ``step`` alone.

        Also called when a run continues, for the last step that was taken, so that what is
        set here need not be saved.
        """
        return

    def after_step(self, network: nn.Module, optimizer: SGD, step: Step) -> None:
        """Change the network or the optimizer's state after a step, without autograd.

        The step's gradients are still there. Changes must be functions of them, of what is
        saved with the network and the optimizer, and of ``step``, or a run that continues
        would end differently.
        """
        return


class Members(nn.Module):
    """Gives a network with logits (batch, classes) the members' axis: (batch, 1, classes)."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (batch, 1, classes)."""
        logits: Tensor = self.network(x)
        return logits.unsqueeze(1)


def method_names() -> list[str]:
    """Return the names of the registered methods (entry points ``nfe_bench.methods``)."""
    return sorted(point.name for point in entry_points(group="nfe_bench.methods"))


@cache
def method_class(name: str) -> type[Method]:
    """Return the method registered under ``name``.

    Raises:
        InputError: no method has that name, or its class is not as it must be.
    """
    found = list(entry_points(group="nfe_bench.methods", name=name))
    if not found:
        raise unknown("method", name, method_names())
    try:
        loaded: type[Method] = found[0].load()
    except (ImportError, AttributeError) as error:
        raise InputError(
            f"method {name!r}: {found[0].value} cannot be imported "
            f"({type(error).__name__}: {error})"
        ) from None
    if not (isinstance(loaded, type) and issubclass(loaded, Method)):
        raise InputError(f"method {name!r}: {found[0].value}: allowed: a subclass of Method")
    check_class(loaded)
    return loaded
