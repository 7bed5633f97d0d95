"""One file for each experiment; every module here that does not begin with ``_`` is loaded."""
