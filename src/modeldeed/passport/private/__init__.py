"""The private branch and the steps that train it beside the public one."""

__all__: list[str] = []
