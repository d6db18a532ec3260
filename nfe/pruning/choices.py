"""What can be chosen about pruning, known without PyTorch: methods, scopes, versions."""

from typing import Annotated, Literal, get_args

from annotated_types import Interval

from nfe.common.errors import InputError
from nfe.common.settings import check_value

Pruning = Literal["none", "random", "erk", "magnitude", "snip", "grasp", "synflow"]
Scope = Literal["global", "layer"]
Sparsity = Annotated[float, Interval(ge=0, lt=1)]

SCOPES = get_args(Scope)

# Raised where a pruner's arithmetic changes on purpose, part of the identity of the runs that it
# prunes: 2 scores larger batches of mixed classes, GraSP with g and H over linear layers too. Every
# other pruner is at 1.
VERSIONS: dict[str, int] = {"snip": 2, "grasp": 2}

# Pruners that look at an example: images and labels, or (synflow) the images' shape alone.
NEED_DATA = frozenset({"snip", "grasp", "synflow"})


def names() -> list[str]:
    """Return the pruning methods, ``none`` included."""
    return [*get_args(Pruning)]


def check(pruning: str, sparsity: float, scope: str = "global") -> None:
    """Check that the settings make sense, alone and together.

    Raises:
        InputError: an unknown name, a sparsity outside [0, 1), or a sparsity without method.
    """
    check_value("pruning", pruning, Pruning)
    check_value("scope", scope, Scope)
    check_value("sparsity", sparsity, Sparsity)
    if pruning == "none" and sparsity > 0:
        raise InputError(
            f"sparsity is {sparsity} with pruning 'none': allowed: 0, or one of {names()[1:]}"
        )
