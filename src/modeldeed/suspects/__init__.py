"""Suspects: models under examination, read without trusting them."""

from modeldeed.suspects.weights import Weights, open_weights

__all__ = ["Weights", "open_weights"]
