"""Backbones by name. Each exposes ``stem``, ``stages`` and ``head``."""

from nfe.engine.backbones.registry import Architecture, Backbone, architecture, names

__all__ = ["Architecture", "Backbone", "architecture", "names"]
