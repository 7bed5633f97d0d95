"""Experiments on marked networks, and the cards and tables that report them.

Run them with ``python -m benchmarks``; nothing here is part of the installed package.
"""
