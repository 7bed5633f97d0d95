"""Asking a suspect: claims to answers, the examination, and what the answers amount to.

A mark that shows in answers (a trigger set, a plug-in) gives questions with hidden keyed labels;
everything after that is the same for all of them.
"""

__all__: list[str] = []
