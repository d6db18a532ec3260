"""Which figures there are, and how methods are named and marked in figures and on the page.

Known without loading what draws.
"""

from dataclasses import dataclass
from functools import cache

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

# What figures and pages are titled; a figure's caption is the paper's own.
TITLES = {
    "accuracy_vs_flops": "Accuracy against the cost of a prediction",
    "pai": "Pruning at initialization",
    "grouping_ratio": "The share of the weights in the first exit's group",
    "capacity": "Gain over the single network against its width",
    "calibration": "Accuracy, NLL and ECE against one another",
    "reliability": "Reliability",
    "exits": "Members, their ensemble, and what diversity brings",
    "exit_places": "Number and place of the exits",
    "early_exit": "Early exit: accuracy against mean cost",
    "training_cost": "Accuracy and NLL against the cost of training",
}


def available(groups: set[str]) -> list[str]:
    """Return the figures that a suite with these groups has."""
    return [name for name, (first, *_) in FIGURES.items() if first in groups]


@cache
def colours() -> list[str]:
    """Return seaborn's ten colours, as #rrggbb, that colour-blind readers tell apart."""
    from seaborn import color_palette

    return list(color_palette("colorblind").as_hex())


@dataclass(frozen=True)
class Entry:
    """How a method, or a kind of pruning, is named and drawn wherever it is.

    Attributes:
        name: the name of its authors.
        number: its place, from 0, which gives the colour.
        mark: Matplotlib's character.
    """

    name: str
    number: int
    mark: str

    @property
    def colour(self) -> str:
        """The colour, as #rrggbb."""
        return colours()[self.number % len(colours())]

    @property
    def edged(self) -> bool:
        """Whether the mark has a dark edge: the colours have come round again."""
        return self.number >= len(colours())


def _entries(names: dict[str, str], marks: str) -> dict[str, Entry]:
    return {
        key: Entry(name, number, mark)
        for number, ((key, name), mark) in enumerate(zip(names.items(), marks, strict=True))
    }


# In this order, so that a method keeps its colour and mark from one suite to the next.
METHODS = _entries(
    {
        "single": "Single network",
        "deep_ensemble": "Deep Ensemble",
        "nfe": "NFE",
        "mimo": "MIMO",
        "batch_ensemble": "BatchEnsemble",
        "exit_ensemble_distillation": "EED",
        "beed": "BEED",
        "sembg": "SEMBG",
        "treenet": "TreeNet",
        "packed_ensemble": "Packed-Ensembles",
        "mc_dropout": "MC dropout",
        "edst": "EDST",
        "dst": "DST",
        "snapshot": "Snapshot Ensemble",
        "prune_and_tune": "Prune and Tune",
        "mixmo": "MixMo",
        "local_critic": "Local critic",
        "narrow_ensemble": "Narrow ensemble",
        "oskd": "OSKD",
        "self_distilled": "Self-distilled",
        "subnetwork_ensemble": "Subnetwork Ensemble",
        "swag": "SWAG",
        "ffl": "FFL",
        "slimmable": "Slimmable",
        "mutualnet": "MutualNet",
        "laplace": "Laplace",
        "hydra": "Hydra",
        "stochastic_depth": "Stochastic depth",
        "multi_swag": "MultiSWAG",
        "partially_masked": "Partially masked",
    },
    "osD^v<>PX*pdh8HosD^v<>PX*pdh8H",
)
PRUNERS = _entries(
    {
        "random": "Random",
        "erk": "ERK",
        "magnitude": "Magnitude",
        "snip": "SNIP",
        "grasp": "GraSP",
        "synflow": "SynFlow",
    },
    "os^vd<",
)
# Network fission whose weights are not divided one by one: by what pruned them, nothing first.
DIVIDED_MARKS = dict(zip(("", *PRUNERS), "p8P>X*h", strict=True))

DATASETS = {
    "digits": "Digits",
    "fashion-mnist": "Fashion-MNIST",
    "cifar10": "CIFAR-10",
    "cifar100": "CIFAR-100",
    "svhn": "SVHN",
    "tiny-imagenet": "Tiny ImageNet",
}


def method_name(method: str) -> str:
    """Return a method's proper name; of one that is not ours, its own."""
    return METHODS[method].name if method in METHODS else method
