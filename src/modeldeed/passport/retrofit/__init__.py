"""Marking a model that is trained already."""

__all__: list[str] = []
