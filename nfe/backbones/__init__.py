"""Backbones by name. Each exposes ``stem``, ``stages`` and ``head``."""

from typing import TYPE_CHECKING

from nfe.backbones.architecture import Architecture
from nfe.backbones.own import check_available, recorded
from nfe.backbones.registry import architecture, is_own, names
from nfe.backbones.structure import Structure
from nfe.common.late import late

if TYPE_CHECKING:
    from nfe.backbones.backbone import Backbone

__all__ = [
    "Architecture",
    "Backbone",
    "Structure",
    "architecture",
    "check_available",
    "is_own",
    "names",
    "recorded",
]

__getattr__ = late(__name__, {"Backbone": "nfe.backbones.backbone"})
