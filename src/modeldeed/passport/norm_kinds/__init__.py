"""The kinds of normalization layers: one file for each place where their classes come from."""

from modeldeed.passport.norm_kinds import foreign_layers, torch_layers

__all__ = ["foreign_layers", "torch_layers"]
