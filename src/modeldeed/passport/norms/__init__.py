"""Normalization layers: their registry, and a file for each place where their classes come from."""

from modeldeed.passport.norms import foreign_layers, torch_layers

__all__ = ["foreign_layers", "torch_layers"]
