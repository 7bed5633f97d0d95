"""The host: which of its norms carry passports, and how a private call reaches them."""

__all__: list[str] = []
