"""Anchoring: a timestamp over what is fixed before marking, so that choosing keys costs requests.

The owner's side makes an anchor, has it signed, and issues the mark from it; the judge's side says
what a token is worth to him.
"""

__all__: list[str] = []
