"""Backbones by name. Each exposes ``stem``, ``stages`` and ``head``."""

from typing import TYPE_CHECKING

from nfe.backbones.registry import Architecture, architecture, names
from nfe.backbones.structure import Structure
from nfe.common.late import late

if TYPE_CHECKING:
    from nfe.backbones.backbone import Backbone

__all__ = ["Architecture", "Backbone", "Structure", "architecture", "names"]

__getattr__ = late(__name__, {"Backbone": "nfe.backbones.backbone"})
