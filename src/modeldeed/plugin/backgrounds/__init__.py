"""Keyed backgrounds: benign content on one of them is a verification sample."""

from modeldeed.plugin.backgrounds.backgrounds import Backgrounds
from modeldeed.plugin.backgrounds.rule import background_root, background_rule

__all__ = ["Backgrounds", "background_root", "background_rule"]
