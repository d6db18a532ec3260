"""Hydra (Tran et al., arXiv 2001.04694): one body, M heads, each taught by one network.

The teachers are a Deep Ensemble that the run trains first, one network after the other; the
student, which is what remains, learns from all of them.
"""

from typing import Self, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from baselines.settings.hydra import HydraSettings
from baselines.shared.frozen import frozen
from nfe.backbones import Backbone
from nfe.backbones.layers import classifier
from nfe.common.precision import exact
from nfe.method import Context, Method, Optimizer, Phases, Recipe, Step


class Heads(nn.Module):
    """A backbone whose last layer has the classes of M heads."""

    def __init__(self, backbone: Backbone, heads: int) -> None:
        super().__init__()
        self.backbone, self.heads = backbone, heads

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (batch, heads, classes)."""
        logits: Tensor = self.backbone(x).unflatten(1, (self.heads, -1))
        return logits

    @torch.no_grad()
    def make_alike(self) -> None:
        """Give every head the first one's initial values."""
        last = cast(nn.Module, classifier(self.backbone.head))
        for parameter in last.parameters(recurse=False):
            first, *others = parameter.chunk(self.heads)
            for other in others:
                other.copy_(first)


class TaughtHeads(nn.Module):
    """A student, in whose place its teachers are trained before it.

    Teacher m is a network like the student of which head m alone is trained. Until it is
    trained its initial values are kept where it will be, those of the student in the first
    teacher's place; so the network in training always has the same tensors.

    Attributes:
        student: the network in training: at last the student.
        teachers: the teachers, which are not trained here; always in evaluation mode.
        own: 1 where each head learns from its own teacher, 0 where all learn their mean.
        active: number of the network in training: a teacher's from 0, at last the student's, M.
        ended: whether that network's training has ended.
    """

    own: Tensor

    def __init__(self, networks: list[Heads], student: Heads) -> None:
        """Place freshly built teachers, M ``networks``, and a student."""
        super().__init__()
        first, *later = networks
        student.make_alike()
        self.student = first
        self.teachers = nn.ModuleList(frozen(network) for network in (student, *later))
        self.register_buffer("own", torch.ones(()), persistent=False)
        self.active, self.ended = len(networks), False

    def train(self, mode: bool = True) -> Self:
        """Set the mode of the network in training alone."""
        super().train(mode)
        self.teachers.eval()
        return self

    def forward(self, x: Tensor, taught: bool = False) -> Tensor | tuple[Tensor, Tensor]:
        """Return logits (batch, members, classes): the student's, or those of teachers.

        Before the student's turn: of the teacher in training; in evaluation also of those that
        are trained.

        Args:
            x: images (batch, channels, h, w).
            taught: also return the logits of all teachers.
        """
        if self.active == len(self.teachers):
            logits: Tensor = self.student(x)
            return (logits, torch.stack(self._taught(x, self.active), dim=1)) if taught else logits
        if self.training:
            return cast(Tensor, self.student(x))[:, self.active, None]
        now = self._taught(x, self.active + self.ended)
        return torch.stack(now if self.ended else [*now, self.student(x)[:, self.active]], dim=1)

    @torch.no_grad()
    def _taught(self, x: Tensor, count: int) -> list[Tensor]:
        """Return the logits of the first ``count`` teachers, (batch, classes) each."""
        return [teacher(x)[:, number] for number, teacher in enumerate(self.teachers[:count])]

    def leave(self, number: int) -> None:
        """Put a teacher that is trained in its place; what is trained next takes its own."""
        _exchange(self.student, self.teachers[number])
        if number + 1 < len(self.teachers):
            _exchange(self.student, self.teachers[number + 1])


def _exchange(one: nn.Module, other: nn.Module) -> None:
    """Exchange the values of two networks with the same tensors."""
    theirs = other.state_dict()
    for name, ours in one.state_dict().items():
        kept = ours.clone()
        ours.copy_(theirs[name])
        theirs[name].copy_(kept)


def soft_targets(teachers: Tensor, own: Tensor, temperature: float) -> Tensor:
    """Return what the heads learn, (batch, heads, classes): softmax(t_m / T), or its mean over m.

    Args:
        teachers: the teachers' logits t, (batch, heads, classes).
        own: 1 for each head's own teacher, 0 for the mean, a scalar.
        temperature: T.
    """
    each = F.softmax(exact(teachers) / temperature, dim=-1)
    return torch.lerp(each.mean(dim=1, keepdim=True).expand_as(each), each, own.to(each.dtype))


def divergence(logits: Tensor, targets: Tensor, temperature: float) -> Tensor:
    """Return the mean over heads and batch of T² · KL(targets ‖ softmax(z_m / T)).

    Args:
        logits: the heads' logits z, (batch, heads, classes).
        targets: probabilities of the same shape.
        temperature: T.
    """
    student = F.log_softmax(exact(logits) / temperature, dim=-1)
    each = (torch.xlogy(targets, targets) - targets * student).sum(dim=-1)
    return temperature**2 * each.mean()


class Hydra(HydraSettings, Phases, Method):
    """M networks, trained one after the other, then one body with a head for each of them."""

    capturable = True

    def network(self, context: Context) -> nn.Module:
        """Return the student with its teachers, all with initial values of their own."""

        def built() -> Heads:
            return Heads(context.backbone(classes=self.members * context.classes), self.members)

        return TaughtHeads([built() for _ in range(self.members)], built())

    def phase(self, step: Step) -> tuple[int, Step]:
        """Return the number of the network in training, and the moment in its training."""
        count = self.trainings()
        return step.phase(step.ends([1 / count] * count))

    def kind(self, step: Step) -> int:
        """Return the number of the network in training."""
        return self.phase(step)[0]

    def learning_rate(self, recipe: Recipe, step: Step) -> float:
        """Return the recipe's rate at the moment in the network's own training."""
        return super().learning_rate(recipe, self.phase(step)[1])

    def before_step(self, network: nn.Module, step: Step) -> None:
        """Train the network whose turn it is; say from whom the heads learn."""
        made, (number, moment) = cast(TaughtHeads, network), self.phase(step)
        made.active, made.ended = number, moment.is_last and number < self.members
        made.own.fill_(float(moment.number >= round(self.common * moment.steps)))

    def loss(self, network: nn.Module, inputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Return a teacher's cross-entropy, or the divergence of the student from its teachers."""
        if cast(int, network.active) < self.members:
            return super().loss(network, inputs, targets)
        logits, teachers = network(inputs, taught=True)
        wanted = soft_targets(teachers, cast(Tensor, network.own), self.temperature)
        return divergence(logits, wanted, self.temperature), logits

    def after_step(self, network: nn.Module, optimizer: Optimizer, step: Step) -> None:
        """Leave a teacher that is trained in its place, and begin the next network."""
        number, moment = self.phase(step)
        if number == self.members or not moment.is_last:
            return
        cast(TaughtHeads, network).leave(number)
        for parameter in network.parameters():
            parameter.grad = None
            optimizer.state.pop(parameter, None)
