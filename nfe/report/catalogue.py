"""Which figures there are: known without loading what draws them."""

FORMATS = ("png", "svg", "pdf")

# Figure → the groups of the suite that it shows; it is made where the suite has the first one.
FIGURES = {
    "accuracy_vs_flops": ("headline", "sparsity"),
    "pai": ("pai",),
    "grouping_ratio": ("grouping_ratio",),
    "capacity": ("capacity",),
    "calibration": ("headline",),
    "reliability": ("headline",),
    "exits": ("headline",),
    "exit_places": ("exits",),
    "early_exit": ("exits",),
    "training_cost": ("longer", "headline", "rivals"),
}


def available(groups: set[str]) -> list[str]:
    """Return the figures that a suite with these groups has."""
    return [name for name, (first, *_) in FIGURES.items() if first in groups]
