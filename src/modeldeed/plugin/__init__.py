"""The plug-in: a small proprietary model beside any trained model, which it leaves as it is.

It answers verification samples, which are benign content on keyed backgrounds, with keyed
classes; everything else passes untouched.
"""

__all__: list[str] = []
