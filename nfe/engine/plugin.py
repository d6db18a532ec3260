"""What a method returns, checked once on a few images before a run trains for hours."""

import copy
from typing import Any

import torch
from torch import Tensor, nn

from nfe.common.errors import InputError
from nfe.common.seeds import generator, global_stream
from nfe.data import Card, Split
from nfe.engine.batches import Normalizer
from nfe.method.checks import located
from nfe.method.interface import Method
from nfe.method.optional import DrawsOnCpu, FormsBatches, GroupsParameters, Phases
from nfe.method.recipe import Recipe
from nfe.method.step import Step

# Images that are tried: more than one, or batch normalization has nothing to normalize over.
TRIED = 4


def check(
    method: Method, network: nn.Module, card: Card, split: Split, recipe: Recipe, step: Step
) -> None:
    """Check on a copy of a run's network what its method returns; nothing of the run changes.

    Args:
        method: the method.
        network: its untrained network, on the CPU.
        card: the data set's facts.
        split: training images, of which a few are used.
        recipe: the run's recipe.
        step: the run's first step.

    Raises:
        InputError: shapes, classes, numbers or parameters are not as the engine needs them; the
            message names the method's class and file.
    """
    images, labels = split.images[:TRIED].cpu(), split.labels[:TRIED].cpu()
    trial = _Trial(method, copy.deepcopy(network), card.classes)
    with global_stream(0, "plug-in"):
        trial.parameters(recipe)
        trial.outputs(Normalizer(card, torch.device("cpu"))(images))
        trial.loss(Normalizer(card, torch.device("cpu"))(images), labels, step)


class _Trial:
    """A method and a copy of its network, to be tried."""

    def __init__(self, method: Method, network: nn.Module, classes: int) -> None:
        self._method = method
        self._network = network
        self._classes = classes
        self._where = located(type(method))

    def _refuse(self, what: str, allowed: str) -> InputError:
        return InputError(f"{self._where}: {what}: allowed: {allowed}")

    def parameters(self, recipe: Recipe) -> None:
        """Check that each parameter has one name, and one group of the optimizer at most."""
        names: dict[Tensor, str] = {}
        for name, parameter in self._network.named_parameters(remove_duplicate=False):
            if parameter in names:
                raise self._refuse(
                    f"network(): {names[parameter]} and {name} are one parameter",
                    "tied parameters under one name",
                )
            names[parameter] = name
        grouped: set[Tensor] = set()
        for group in GroupsParameters.of(self._method).parameter_groups(self._network, recipe):
            for parameter in group["params"]:
                if parameter not in names:
                    raise self._refuse(
                        "parameter_groups(): a parameter that is not the network's",
                        "the network's parameters",
                    )
                if parameter in grouped:
                    raise self._refuse(
                        f"parameter_groups(): {names[parameter]} stands there twice",
                        "each parameter once",
                    )
                grouped.add(parameter)

    def outputs(self, images: Tensor) -> None:
        """Check what the network answers in evaluation."""
        self._network.eval()
        with torch.no_grad():
            logits = self._network(images)
        self._check_logits("network", logits, len(images))
        members = self._method.ensemble_size()
        if members is not None and logits.shape[1] != members:
            raise self._refuse(
                f"network: {logits.shape[1]} members of logits {tuple(logits.shape)}",
                f"{members}, as the settings say",
            )

    def loss(self, images: Tensor, labels: Tensor, step: Step) -> None:
        """Check what a training step is made of: batch, loss and logits."""
        method, network = self._method, self._network.train()
        Phases.of(method).before_step(network, step)
        inputs, targets = FormsBatches.of(method).training_batch(
            images, labels, generator("cpu", 0, "plug-in")
        )
        if targets.is_floating_point() or targets.dim() not in (1, 2):
            raise self._refuse(
                f"training_batch(): targets {tuple(targets.shape)} of {targets.dtype}",
                "class numbers, (rows,) or (rows, members)",
            )
        DrawsOnCpu.of(method).draw(network, inputs)
        loss, logits = method.loss(network, inputs, targets)
        self._check_logits("loss()", logits, len(targets))
        if targets.dim() == 2 and targets.shape[1] != logits.shape[1]:
            raise self._refuse(
                f"loss(): logits {tuple(logits.shape)} for targets {tuple(targets.shape)}",
                "as many members in both",
            )
        if loss.dim() or not loss.requires_grad:
            kind = f"shape {tuple(loss.shape)}" + ("" if loss.requires_grad else ", no gradient")
            raise self._refuse(f"loss(): a loss of {kind}", "a scalar that has a gradient")
        if not bool(torch.isfinite(loss)):
            raise self._refuse(f"loss(): a loss of {loss.item()}", "a finite number")

    def _check_logits(self, source: str, logits: Any, rows: int) -> None:
        if not isinstance(logits, Tensor):
            raise self._refuse(f"{source}: {type(logits).__name__}", "a tensor of logits")
        shape, wanted = tuple(logits.shape), f"({rows}, members, {self._classes})"
        if len(shape) != 3 or shape[0] != rows or not shape[1] or shape[2] != self._classes:
            raise self._refuse(f"{source}: logits of shape {shape}", wanted)
        if not logits.is_floating_point() or not bool(torch.isfinite(logits).all()):
            raise self._refuse(f"{source}: logits that are not finite", "finite numbers")
