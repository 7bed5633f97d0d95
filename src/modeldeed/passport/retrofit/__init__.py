"""Marking a model that is trained already."""
