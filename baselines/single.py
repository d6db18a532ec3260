"""The single network: the backbone, trained with the recipe as it is."""

from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from nfe.method import Context, Members, Method


@dataclass(frozen=True)
class Single(Method):
    """One backbone, cross-entropy."""

    capturable: ClassVar = True
    published: ClassVar = {"batch_size": 128, "epochs": 200}

    def network(self, context: Context) -> nn.Module:
        """Return the backbone."""
        return Members(context.backbone())
