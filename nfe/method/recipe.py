"""The training recipe: optimizer and learning-rate schedule.

The defaults of ``sgd`` are the recipe of Network Fission Ensembles (Lee & Lee, arXiv 2408.02301) on
CIFAR-100. Those of ``adamw`` follow DeiT (Touvron et al., ICML 2021) and ConvNeXt (Liu et al., CVPR
2022) in decay, cosine and a linear warm-up, with a rate of ours.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from annotated_types import Ge, Interval

from nfe.common.errors import InputError
from nfe.common.settings import Coefficient, Count, Positive, Share, check, parse
from nfe.method.step import Step


def _constant_linear(progress: float) -> float:
    """Constant to half of the run, linear to 1 % at nine tenths, constant after."""
    if progress <= 0.5:
        return 1.0
    return max(0.01, 1.0 - 0.99 * (progress - 0.5) / 0.4)


def _cosine(progress: float) -> float:
    return 0.5 * (1 + math.cos(math.pi * progress))


def _step(progress: float, milestones: Sequence[float], decay: float) -> float:
    return float(decay ** sum(progress >= milestone for milestone in milestones))


SMOOTH = {"constant-linear": _constant_linear, "cosine": _cosine}
Schedule = Literal["constant-linear", "cosine", "step"]

Algorithm = Literal["sgd", "adamw"]
# What each optimizer's recipe has in the place of the fields' defaults.
_DEFAULTS: Mapping[Algorithm, Mapping[str, Any]] = {
    "sgd": {},
    "adamw": {"lr": 1e-3, "weight_decay": 0.05, "schedule": "cosine", "warmup": 5},
}
# Fields that say something with one optimizer alone.
_OWN: Mapping[Algorithm, tuple[str, ...]] = {"sgd": ("momentum", "nesterov"), "adamw": ()}


@dataclass(frozen=True)
class Recipe:
    """An optimizer and a learning-rate schedule.

    The rate is constant within an epoch, but for the warm-up, in which it rises with every step.

    Attributes:
        batch_size: distinct images per batch.
        lr: base learning rate.
        momentum: with ``sgd``: momentum coefficient.
        nesterov: with ``sgd``: Nesterov's form of momentum.
        weight_decay: in PyTorch's convention: with ``sgd`` an L2 coefficient, of all parameters;
            with ``adamw`` the decoupled decay, of matrices and kernels alone (not of norms, biases
            and scales).
        schedule: a name in ``Schedule``: factor of ``lr`` by share of the run gone.
        milestones: for ``step``: the shares of the run at which the factor is multiplied.
        decay: for ``step``: what it is multiplied by.
        warmup: epochs over which a factor rises linearly from near 0 to 1.
        optimizer: ``sgd``, or ``adamw`` (Loshchilov & Hutter, ICLR 2019), whose averages decay by
            0.9 and 0.999. With ``adamw`` the defaults are lr 0.001, weight_decay 0.05, schedule
            ``cosine`` and warmup 5.
    """

    batch_size: Count
    lr: Positive = 0.1
    momentum: Annotated[float, Interval(ge=0, lt=1)] = 0.9
    nesterov: bool = True
    weight_decay: Coefficient = 5e-4
    schedule: Schedule = "constant-linear"
    milestones: tuple[Share, ...] = ()
    decay: Share | None = None
    warmup: Annotated[int, Ge(0)] = 0
    optimizer: Algorithm = "sgd"

    def __post_init__(self) -> None:
        object.__setattr__(self, "milestones", tuple(self.milestones))  # JSON has lists
        check(self)
        self._check_own()
        if self.nesterov and self.momentum == 0:
            raise InputError("nesterov is true with momentum 0: allowed: momentum above 0")
        self._check_steps()

    def _check_own(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if field.name in self._unused() and value != field.default:
                raise InputError(
                    f"{field.name} is {value!r} with optimizer {self.optimizer!r}: allowed: only "
                    f"with optimizer 'sgd'"
                )

    def _unused(self) -> set[str]:
        """Return the fields that say nothing with this optimizer."""
        own = {name for names in _OWN.values() for name in names}
        return own - set(_OWN[self.optimizer])

    def _check_steps(self) -> None:
        marks = list(self.milestones)
        if self.schedule != "step" and (marks or self.decay is not None):
            raise InputError(
                f"milestones {marks} and decay {self.decay} with schedule {self.schedule!r}: "
                f"allowed: only with schedule 'step'"
            )
        if self.schedule != "step":
            return
        if not marks or marks != sorted(set(marks)):
            raise InputError(
                f"milestones is {marks}: allowed: ascending shares of the run between 0 and 1"
            )
        if self.decay is None:
            raise InputError("decay is None: allowed with schedule 'step': numbers between 0 and 1")

    def with_changes(self, changes: Mapping[str, Any]) -> "Recipe":
        """Return the recipe with some fields changed.

        Raises:
            InputError: a field does not exist or a value is not allowed.
        """
        return dataclasses.replace(self, **parse(Recipe, changes, "recipe"))

    def record(self) -> dict[str, Any]:
        """Return the recipe as JSON values, without what says nothing with its optimizer.

        ``sgd`` stands for itself, being older than the choice.
        """
        values = {k: v for k, v in dataclasses.asdict(self).items() if k not in self._unused()}
        if self.optimizer == "sgd":
            del values["optimizer"]
        return {k: list(v) if isinstance(v, tuple) else v for k, v in values.items()}

    def learning_rate(self, step: Step) -> float:
        """Return the learning rate of a step.

        In the warm-up, step t (from 0) of w has the share (t + 1) / w of the rate.
        """
        epoch, epochs = step.number // step.per_epoch, step.steps / step.per_epoch
        warm = min(1.0, (step.number + 1) / max(1, self.warmup * step.per_epoch))
        return self.lr * warm * self._factor(epoch / epochs)

    def _factor(self, progress: float) -> float:
        if self.decay is not None:
            return _step(progress, self.milestones, self.decay)
        return SMOOTH[self.schedule](progress)


def recipe_of(batch_size: int, algorithm: Algorithm, changes: Mapping[str, Any]) -> Recipe:
    """Return the recipe of an optimizer with some fields changed.

    Args:
        batch_size: distinct images per batch.
        algorithm: the optimizer, unless ``changes`` names another.
        changes: values by field, text or not.

    Raises:
        InputError: a field does not exist or a value is not allowed.
    """
    named = parse(Recipe, {"optimizer": changes.get("optimizer", algorithm)}, "recipe")
    return Recipe(batch_size).with_changes({**named, **_DEFAULTS[named["optimizer"]], **changes})
