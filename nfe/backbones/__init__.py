"""Backbones by name. Each exposes ``stem``, ``stages`` and ``head``."""

from nfe.backbones.backbone import Backbone
from nfe.backbones.registry import Architecture, architecture, names
from nfe.backbones.structure import Structure

__all__ = ["Architecture", "Backbone", "Structure", "architecture", "names"]
