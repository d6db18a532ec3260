"""Prune and Tune Ensembles (Whitaker & Whitley, AAAI 2022): children pruned out of one parent."""

from dataclasses import dataclass
from typing import ClassVar

from nfe.common.settings import Count, Share
from nfe.method.settings import Settings


@dataclass(frozen=True)
class PruneAndTuneSettings(Settings):
    """A parent, and M children that keep half of its weights each and are tuned briefly.

    Attributes:
        members: number of children M.
        parent: share of the run that trains the parent; the children share the rest evenly.
    """

    published: ClassVar = {"batch_size": 128, "epochs": 200}
    published_settings: ClassVar = {"members": 6}

    members: Count = 3
    parent: Share = 0.7
    costless: ClassVar = frozenset({"parent"})
