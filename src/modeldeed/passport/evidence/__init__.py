"""What a passport leaves as evidence: its files, its secrets, and how a judge reads them."""

__all__: list[str] = []
