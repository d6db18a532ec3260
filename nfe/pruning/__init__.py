"""Pruning at initialization: scores → masks.

Every pruner gives each prunable weight a score on the very weights that are then trained; the
highest (1 − sparsity) share is kept, over the whole network or in each layer. Prunable are the
convolutions (in a fissioned network also linear layers inside stages); never the linear head,
norms or biases.
"""

from typing import TYPE_CHECKING

from nfe.common.late import late
from nfe.pruning.choices import NEED_DATA, SCOPES, VERSIONS, check, names

if TYPE_CHECKING:
    from nfe.pruning.budgets import Budgets, Masks, erk_counts, keep_highest
    from nfe.pruning.masking import Mask, everything, masks, prune, weight_scores
    from nfe.pruning.ordinary import as_example, check_labels, check_ordinary
    from nfe.pruning.scores import (
        PRUNERS,
        Example,
        Request,
        Scores,
        grasp_scores,
        magnitude_scores,
        memory_mb,
        prunable,
        random_scores,
        snip_scores,
        synflow_scores,
    )

__all__ = [
    "NEED_DATA",
    "PRUNERS",
    "SCOPES",
    "VERSIONS",
    "Budgets",
    "Example",
    "Mask",
    "Masks",
    "Request",
    "Scores",
    "as_example",
    "check",
    "check_labels",
    "check_ordinary",
    "erk_counts",
    "everything",
    "grasp_scores",
    "keep_highest",
    "magnitude_scores",
    "masks",
    "memory_mb",
    "names",
    "prunable",
    "prune",
    "random_scores",
    "snip_scores",
    "synflow_scores",
    "weight_scores",
]

_HOMES = {
    "nfe.pruning.budgets": (
        "Budgets",
        "Masks",
        "erk_counts",
        "keep_highest",
    ),
    "nfe.pruning.masking": (
        "Mask",
        "everything",
        "masks",
        "prune",
        "weight_scores",
    ),
    "nfe.pruning.ordinary": (
        "as_example",
        "check_labels",
        "check_ordinary",
    ),
    "nfe.pruning.scores": (
        "Example",
        "PRUNERS",
        "Request",
        "Scores",
        "grasp_scores",
        "magnitude_scores",
        "memory_mb",
        "prunable",
        "random_scores",
        "snip_scores",
        "synflow_scores",
    ),
}

__getattr__ = late(__name__, {name: home for home, names in _HOMES.items() for name in names})
