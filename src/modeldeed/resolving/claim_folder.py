"""What a claimant hands in: a folder whose files are found, bounded and not yet believed.

```
acme/
  deed.json                 the deed
  timestamps/*.tsr          tokens over it
  opening.json              the opening for this dispute
  reference.safetensors     the deed's model; or a folder `reference` of several files
  unmarked.safetensors      the anchor's exhibit, if any; or a folder `unmarked`
  passport/                 the passport's folder, where its reading or its head needs files
  countersignatures/*.json  licences, if any
```
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from modeldeed.deed import Deed
from modeldeed.deed.envelope import MAX_ENVELOPE_BYTES
from modeldeed.errors import EvidenceError, OptionError
from modeldeed.storage import bounded_bytes

__all__ = ["ClaimFolder"]

_MAX_FILES = 64
_MAX_OPENING = 16 * 2**20
_MAX_COUNTERSIGNATURE = 2**16
_MOST_ENTRIES = 10_000
_SHOWN = 5
_KNOWN = frozenset(
    {"deed.json", "timestamps", "opening.json", "reference.safetensors", "reference",
     "unmarked.safetensors", "unmarked", "passport", "countersignatures"}
)  # fmt: skip


@dataclass(frozen=True)
class ClaimFolder:
    """A claim's folder.

    Args:
        path: where it lies.

    Raises:
        OptionError: there is no such folder.
    """

    path: Path

    def __post_init__(self) -> None:
        if not self.path.is_dir():
            raise OptionError(
                f"--claim {self.path} is no folder; a claim is a folder with deed.json, "
                "opening.json and reference.safetensors"
            )

    @property
    def name(self) -> str:
        """How it is called in reports: the folder's name, shortened and printable."""
        text = self.path.resolve().name[:60] or "claim"
        return "".join(c if c.isprintable() else "?" for c in text)

    def deed_file(self) -> bytes:
        """The deed's file, as it lies there.

        Raises:
            EvidenceError: it is missing or too large.
        """
        return self._read("deed.json", MAX_ENVELOPE_BYTES, "every claim has a deed")

    def deed(self) -> Deed:
        """The deed with its timestamps and their renewals.

        Raises:
            EvidenceError: it is malformed or altered, or there are too many timestamps.
        """
        for count, path in enumerate((self.path / "timestamps").rglob("*")):
            if count >= _MOST_ENTRIES:
                raise EvidenceError(f"timestamps holds more than {_MOST_ENTRIES} files")
            self._inside(path)
        try:
            return Deed.load(self.path)
        except OptionError as error:
            raise EvidenceError(str(error)) from error

    def opening(self) -> bytes:
        """The opening's file.

        Raises:
            EvidenceError: it is missing or too large.
        """
        return self._read(
            "opening.json", _MAX_OPENING, "the owner opens the deed for this suspect and nonce"
        )

    def countersignatures(self) -> tuple[bytes, ...]:
        """The licences, by the names of their files.

        Raises:
            EvidenceError: there are too many, or one is too large.
        """
        return self._several("countersignatures", ".json", _MAX_COUNTERSIGNATURE)

    def reference(self) -> Path | None:
        """The registered model; None if it is not shown."""
        return self._model("reference")

    def unmarked(self) -> Path | None:
        """The anchor's exhibit; None if it is not shown."""
        return self._model("unmarked")

    def passport(self) -> Path | None:
        """The passport's folder; None if there is none."""
        folder = self.path / "passport"
        return self._inside(folder) if folder.is_dir() else None

    def unknown(self) -> str | None:
        """A note on files that no rule asks for; None without any. They are not opened."""
        names: list[str] = []
        for count, entry in enumerate(self.path.iterdir()):
            if count >= _MOST_ENTRIES:
                break
            if entry.name not in _KNOWN:
                names.append("".join(c if c.isprintable() else "?" for c in entry.name[:60]))
        if not names:
            return None
        names.sort()
        shown = ", ".join(names[:_SHOWN])
        more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
        return f"files that no rule asks for were not opened: {shown}{more}"

    def _model(self, stem: str) -> Path | None:
        for path in (self.path / f"{stem}.safetensors", self.path / stem):
            if path.exists():
                return self._inside(path)
        return None

    def _read(self, name: str, limit: int, why: str) -> bytes:
        path = self.path / name
        if not path.exists():
            raise EvidenceError(f"the file {name} is missing: {why}")
        return bounded_bytes(self._inside(path), limit)

    def _several(self, name: str, suffix: str, limit: int) -> tuple[bytes, ...]:
        folder = self.path / name
        if not folder.is_dir():
            return ()
        paths: list[Path] = []
        for path in self._inside(folder).iterdir():
            if path.suffix == suffix:
                paths.append(path)
            if len(paths) > _MAX_FILES:
                raise EvidenceError(f"{name} holds more than {_MAX_FILES} files")
        return tuple(bounded_bytes(self._inside(path), limit) for path in sorted(paths))

    def _inside(self, path: Path) -> Path:
        # A link could show the judge's own files in a report, or change under his hands.
        if not path.resolve().is_relative_to(self.path.resolve()):
            raise EvidenceError(f"{path.name} leads out of the claim's folder; hand in the file")
        return path
