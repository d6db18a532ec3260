"""Pruning at initialization: scores → masks.

Every pruner gives each prunable weight a score on the very weights that are then trained; the
highest (1 − sparsity) share is kept, over the whole network or in each layer. Prunable are the
convolutions (in a fissioned network also linear layers inside stages); never the linear head,
norms or biases.
"""

from nfe.pruning.budgets import SCOPES, Budgets, Masks, erk_counts, keep_highest
from nfe.pruning.masking import Mask, check, everything, masks, names, prune
from nfe.pruning.ordinary import as_example, check_labels, check_ordinary
from nfe.pruning.scores import (
    NEED_DATA,
    PRUNERS,
    VERSIONS,
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
]
