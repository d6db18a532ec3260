"""Last-layer Laplace (Daxberger et al., NeurIPS 2021, arXiv 2106.14806), Kronecker-factored.

The classifier's weights get a Gaussian posterior around what training has found: its precision is
the curvature of the training loss there plus the prior's. Members are draws from it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Self, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from baselines.settings.laplace import LaplaceSettings
from nfe.backbones import Backbone
from nfe.backbones.layers import classifier
from nfe.common.errors import InputError
from nfe.common.precision import full_float32
from nfe.common.seeds import generator
from nfe.method import Context, Method, Optimizer, Phases, Step

# Prior precisions among which the one of highest evidence is taken.
PRIORS = torch.logspace(-4, 4, 161, dtype=torch.float64)
# Images of a pass that measures the curvature.
BATCH = 250

# Returns so many normalized training images of each class, and their labels.
Example = Callable[[int], tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class Posterior:
    """A Gaussian over a linear layer's weights (classes, features), the bias as the last column.

    Its precision is N · (G ⊗ A) + δ, with A the mean of φφᵀ over images, φ a layer's inputs and a
    1, and G that of diag(p) − ppᵀ, p the predicted probabilities (Ritter et al., ICLR 2018).

    Attributes:
        mean: what training has found, (classes, features).
        inputs: eigenvalues of A and its eigenvectors, (features,) and (features, features).
        outputs: those of G, (classes,) and (classes, classes).
        images: N, the number of training images.
        prior: δ.
    """

    mean: Tensor
    inputs: tuple[Tensor, Tensor]
    outputs: tuple[Tensor, Tensor]
    images: int
    prior: float

    @classmethod
    def fit(cls, mean: Tensor, features: Tensor, images: int, prior: float | None = None) -> Self:
        """Return the posterior, in float64.

        Args:
            mean: the layer's weights with the bias as the last column, (classes, features).
            features: its inputs with a 1 as the last feature, (rows, features).
            images: N.
            prior: δ; None for the one of ``PRIORS`` with the highest evidence.
        """
        shares = (features @ mean.T).softmax(dim=1)
        gram = features.T @ features / len(features)
        curvature = torch.diag(shares.mean(dim=0)) - shares.T @ shares / len(shares)
        inputs, outputs = (_eigen(matrix) for matrix in (gram, curvature))
        found = cls(mean, inputs, outputs, images, 1.0 if prior is None else prior)
        if prior is not None:
            return found
        evidence = torch.stack([found.evidence(float(delta)) for delta in PRIORS])
        return cls(mean, inputs, outputs, images, float(PRIORS[evidence.argmax()]))

    @property
    def curvature(self) -> Tensor:
        """The eigenvalues N · g · a of the training loss's curvature, (classes, features)."""
        return self.images * torch.outer(self.outputs[0], self.inputs[0])

    def evidence(self, prior: float) -> Tensor:
        """Return ln p(data | δ) but for what does not depend on δ.

        ½ P ln δ − ½ δ ‖w‖² − ½ ln det(N · (G ⊗ A) + δ), P the number of weights (MacKay, 1992).
        """
        delta = torch.tensor(prior, dtype=self.mean.dtype)
        determinant = (self.curvature + delta).log().sum()
        fit = self.mean.numel() * delta.log() - delta * self.mean.square().sum()
        return (fit - determinant) / 2

    def draw(self, normal: Tensor) -> Tensor:
        """Return draws (…, classes, features) from standard normal numbers of that shape."""
        scaled = normal / (self.curvature + self.prior).sqrt()
        drawn: Tensor = self.mean + self.outputs[1] @ scaled @ self.inputs[1].T
        return drawn


def _eigen(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """Return eigenvalues, none below 0, and eigenvectors of a positive semi-definite matrix."""
    values, vectors = torch.linalg.eigh(matrix)
    return values.clamp_min(0), vectors


class DrawnLinear(nn.Module):
    """A linear layer in training; in evaluation as many as there are draws of its weights.

    Attributes:
        linear: the layer.
        offsets: what each draw adds to its weights and bias, (members, classes, features + 1).
    """

    offsets: Tensor

    def __init__(self, linear: nn.Linear, members: int) -> None:
        """Begin with draws that are all the layer itself."""
        super().__init__()
        self.linear = linear
        shape = (members, linear.out_features, linear.in_features + 1)
        self.register_buffer("offsets", torch.zeros(shape))

    @property
    def weights(self) -> Tensor:
        """The layer's weights with its bias as the last column, (classes, features + 1)."""
        bias = self.linear.bias
        column = torch.zeros_like(self.linear.weight[:, 0]) if bias is None else bias
        return torch.cat([self.linear.weight, column[:, None]], dim=1).detach()

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, features) to (batch, classes); in evaluation member by member."""
        if self.training:
            out: Tensor = self.linear(x)
            return out
        drawn = (self.weights + self.offsets).flatten(0, 1)
        logits = F.linear(x, drawn[:, :-1], drawn[:, -1]).unflatten(1, (len(self.offsets), -1))
        rows: Tensor = logits.transpose(0, 1).flatten(0, 1)
        return rows


class LastLayer(nn.Module):
    """A backbone whose classifier is drawn from a posterior once training has ended.

    Attributes:
        backbone: the backbone, with a ``DrawnLinear`` in place of its last layer.
        rows: images of a training batch, known since the first one.
        drawn: whether the members are drawn.
    """

    def __init__(self, backbone: Backbone, members: int, example: Example, seed: int) -> None:
        """Exchange the last layer.

        Args:
            backbone: the network.
            members: number of draws.
            example: returns training images, see ``Context``.
            seed: the run's seed.

        Raises:
            InputError: the backbone's last layer is not linear.
        """
        super().__init__()
        last = classifier(backbone.head)
        if not isinstance(last, nn.Linear):
            raise InputError(
                f"the network's last layer is {type(last).__name__}: allowed: a linear layer, "
                f"whose weights the posterior is of"
            )
        drawn = DrawnLinear(last, members)
        name = next(name for name, layer in backbone.named_modules() if layer is last)
        owner, _, attribute = name.rpartition(".")
        setattr(backbone.get_submodule(owner), attribute, drawn)
        self.backbone = backbone
        self.rows = 0
        self.drawn = False
        self._example = example
        self._seed = seed
        # Not as a part of this module: it is the backbone's.
        self._classifier = (drawn,)

    @property
    def classifier(self) -> DrawnLinear:
        """The backbone's last layer."""
        return self._classifier[0]

    def forward(self, x: Tensor) -> Tensor:
        """Return logits: (batch, 1, classes) in training, (batch, members, classes) else."""
        rows: Tensor = self.backbone(x)
        if self.training:
            self.rows = len(x)
            return rows.unsqueeze(1)
        logits: Tensor = rows.unflatten(0, (-1, len(x))).transpose(0, 1)
        return logits

    @torch.no_grad()
    def features(self, images: Tensor) -> Tensor:
        """Return the classifier's inputs in evaluation, and a 1: (batch, features + 1) float64."""
        seen: list[Tensor] = []
        hook = self.classifier.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
        with full_float32():
            self.backbone(images)
        hook.remove()
        return F.pad(seen[0].double().cpu(), (0, 1), value=1.0)

    @torch.no_grad()
    def draw(self, images: int, per_class: int, prior: float | None) -> None:
        """Draw the members from the posterior around the present weights.

        Computed on the CPU in float64, so that little depends on the device.

        Args:
            images: number of training images.
            per_class: of how many images of each class the curvature is the mean.
            prior: see ``Posterior.fit``.
        """
        was_training = self.training
        self.eval()
        mean = self.classifier.weights
        batches = self._example(per_class)[0].to(mean.device).split(BATCH)
        features = torch.cat([self.features(batch) for batch in batches])
        posterior = Posterior.fit(mean.double().cpu(), features, images, prior)
        draws = generator("cpu", self._seed, "laplace")
        normal = torch.randn(self.classifier.offsets.shape, generator=draws, dtype=torch.float64)
        self.classifier.offsets.copy_(posterior.draw(normal) - posterior.mean)
        self.drawn = True
        self.train(was_training)


class Laplace(LaplaceSettings, Phases, Method):
    """One network; the last layer's posterior after the last step, and draws from it."""

    capturable = True

    def network(self, context: Context) -> nn.Module:
        """Return the backbone with places for the draws."""
        return LastLayer(context.backbone(), self.members, context.example, context.seed)

    def after_step(self, network: nn.Module, optimizer: Optimizer, step: Step) -> None:
        """Draw the members after the last step, once: throughput is measured beyond it."""
        made = cast(LastLayer, network)
        if step.is_last and not made.drawn:
            made.draw(made.rows * step.per_epoch, self.per_class, self.prior)
