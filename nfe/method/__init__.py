"""The plug-in interface: all that a method of the benchmark is written with."""

from typing import TYPE_CHECKING

from nfe.common.late import late
from nfe.common.settings import Coefficient, Count, Positive, Share
from nfe.method.optional import (
    DividesWeights,
    DrawsOnCpu,
    EarlyExits,
    FormsBatches,
    GroupsParameters,
    LooksAtData,
    Phases,
)
from nfe.method.recipe import Recipe
from nfe.method.settings import CombinesRuns, Settings, method_names, settings_class
from nfe.method.step import Step

if TYPE_CHECKING:
    from nfe.method.adamw import AdamW
    from nfe.method.context import Context
    from nfe.method.interface import Members, Method, method_class
    from nfe.method.optimizer import SGD, Optimizer
    from nfe.method.sequential import SequentialMembers

__all__ = [
    "SGD",
    "AdamW",
    "Coefficient",
    "CombinesRuns",
    "Context",
    "Count",
    "DividesWeights",
    "DrawsOnCpu",
    "EarlyExits",
    "FormsBatches",
    "GroupsParameters",
    "LooksAtData",
    "Members",
    "Method",
    "Optimizer",
    "Phases",
    "Positive",
    "Recipe",
    "SequentialMembers",
    "Settings",
    "Share",
    "Step",
    "method_class",
    "method_names",
    "settings_class",
]

__getattr__ = late(
    __name__,
    {
        "AdamW": "nfe.method.adamw",
        "Context": "nfe.method.context",
        "Members": "nfe.method.interface",
        "Method": "nfe.method.interface",
        "Optimizer": "nfe.method.optimizer",
        "SGD": "nfe.method.optimizer",
        "SequentialMembers": "nfe.method.sequential",
        "method_class": "nfe.method.interface",
    },
)
