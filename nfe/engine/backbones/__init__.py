"""Backbones by name. Each exposes ``stem``, ``stages`` and ``head``."""

from nfe.engine.backbones.registry import Architecture, Backbone, architecture, names
from nfe.engine.backbones.structure import Structure

__all__ = ["Architecture", "Backbone", "Structure", "architecture", "names"]
