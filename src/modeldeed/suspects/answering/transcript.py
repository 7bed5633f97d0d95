"""A transcript: which samples a suspect was asked about, in which order, and what it answered.

Stopping is free and asking anew is not: whoever asks until the answers please proves nothing. So
there is one transcript for each claim, batch and suspect, every answer is on the disk before the
next question goes out, and an interrupted transcript goes on where it stopped. It holds neither
the labels of the triggers nor anything of a secret. It is unsigned: it keeps a judge's own
questions straight, and from a claimant it proves nothing.
"""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modeldeed.errors import EvidenceError
from modeldeed.storage import write_atomically
from modeldeed.suspects.answering.transcript_lines import (
    Answered,
    TranscriptHeader,
    read_answered,
    read_header,
)

__all__ = ["Transcript"]

_MOST_BYTES = 256 * 2**20
_MOST_LINE = 2**20


@dataclass(frozen=True)
class _Found:
    header: TranscriptHeader
    answers: list[Answered]
    digest: bytes
    length: int  # bytes of whole lines
    unended: bool  # the last line is whole but for its end
    torn: int  # bytes of a line that was not written whole


class Transcript:
    """An open transcript; made by `open_for` or `read`.

    Attributes:
        path: its file.
        header: its first line.
        answers: what was answered so far, in order.
        notices: what a reader should know, for example a torn last line.

    Example:
        >>> import tempfile, hashlib
        >>> header = TranscriptHeader(
        ...     anchor="0" * 64, batch=0, batches=[0], rule="0" * 64,
        ...     suspect=hashlib.sha256(b"{}").hexdigest(),
        ...     description={}, time="2026-11-21T13:34:20Z")
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with Transcript.open_for(Path(folder) / "t.jsonl", header) as transcript:
        ...         transcript.append(Answered(input="1" * 64, label=3))
        ...     [answered.label for answered in Transcript.read(transcript.path).answers]
        [3]
    """

    def __init__(self, path: Path, found: _Found, file: Any = None) -> None:
        self.path = path
        self.header = found.header
        self.answers = list(found.answers)
        self.notices: tuple[str, ...] = ()
        if found.torn:
            self.notices = (
                f"{path}: the last line was not written whole ({found.torn} bytes) and does not "
                "count",
            )
        self._digest = found.digest
        self._length = found.length
        self._asked = {answered.input for answered in found.answers}
        self._file = file

    @classmethod
    def open_for(cls, path: str | Path, header: TranscriptHeader) -> Transcript:
        """Begin a transcript, or go on with the one that is there.

        Args:
            path: its file; its folder exists.
            header: what it is about. Of a transcript that is there already, time and version stay.

        Returns:
            The transcript, locked against other processes until it is closed.

        Raises:
            EvidenceError: what is there is about something else (says what), was altered, is in
                use by another process, or cannot be read or written.
        """
        path = Path(path)
        try:
            if not path.exists():
                line, _ = header.line()
                # If another process was faster, its transcript counts.
                with contextlib.suppress(FileExistsError):
                    write_atomically(path, line + b"\n", overwrite=False)
            _require_regular(path)
            file = path.open("r+b", buffering=0)
        except OSError as error:
            raise EvidenceError(f"the transcript {path} cannot be opened: {error}") from error
        try:
            _lock(file, path)
            found = _checked(file.read(_MOST_BYTES + 1))
            _require_same(path, found.header, header)
            transcript = cls(path, found, file)
            transcript._mend(found)
        except BaseException:
            file.close()
            raise
        return transcript

    @classmethod
    def read(cls, path: str | Path) -> Transcript:
        """Read a transcript without changing it; nothing can be appended.

        Raises:
            EvidenceError: it is malformed, was altered, or cannot be read.
        """
        path = Path(path)
        try:
            _require_regular(path)
            with path.open("rb") as file:
                data = file.read(_MOST_BYTES + 1)
        except OSError as error:
            raise EvidenceError(f"the transcript {path} cannot be read: {error}") from error
        return cls(path, _checked(data))

    @property
    def digest(self) -> str:
        """Digest of the last line, hexadecimal: it commits to the whole transcript."""
        return self._digest.hex()

    def append(self, answered: Answered) -> None:
        """Add an answer and have it on the disk.

        Raises:
            EvidenceError: its sample was asked before, the transcript is not open for writing, or
                the disk does not take it; then nothing is added.
        """
        if self._file is None:
            raise EvidenceError(f"the transcript {self.path} is not open for writing")
        if answered.input in self._asked:
            raise EvidenceError(
                f"the transcript {self.path} holds an answer to sample {answered.input[:16]} "
                "already; a sample is asked once"
            )
        line, digest = answered.line(len(self.answers), self._digest)
        if self._length + len(line) + 1 > _MOST_BYTES:
            raise EvidenceError(f"the transcript {self.path} would exceed {_MOST_BYTES} bytes")
        self._write(line + b"\n")
        self._digest = digest
        self._length += len(line) + 1
        self._asked.add(answered.input)
        self.answers.append(answered)

    def close(self) -> None:
        """Close the file and give up the lock."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def __enter__(self) -> Transcript:
        return self

    def __exit__(self, *failure: object) -> None:
        self.close()

    def _mend(self, found: _Found) -> None:
        """Leave whole lines only, so that the next one begins on its own."""
        if found.torn:
            self._file.truncate(found.length)
            os.fsync(self._file.fileno())
        if found.unended:
            self._length -= 1  # the end that `_write` is to put there
            self._write(b"\n")
            self._length += 1

    def _write(self, data: bytes) -> None:
        try:
            self._file.seek(self._length)
            written = self._file.write(data)
            if written != len(data):
                raise OSError(f"{written} of {len(data)} bytes were written")
            os.fsync(self._file.fileno())
        except OSError as error:
            # What was written in part counts as torn when it is opened again.
            self.close()
            raise EvidenceError(f"the transcript {self.path} cannot be written: {error}") from error


def _checked(data: bytes) -> _Found:
    """Read a transcript's bytes strictly."""
    if len(data) > _MOST_BYTES:
        raise EvidenceError(f"the transcript has more than {_MOST_BYTES} bytes")
    *lines, tail = data.split(b"\n")
    if not lines or max(map(len, lines)) > _MOST_LINE:
        raise EvidenceError("the transcript has no header, or a line of absurd length")
    header, digest = read_header(lines[0])
    answers: list[Answered] = []
    asked = set()
    # A brace ends a line: a tail that has one was written whole, or was tampered with.
    unended = b"}" in tail
    for line in [*lines[1:], *([tail] if unended else [])]:
        answered, digest = read_answered(line, len(answers), digest)
        if answered.input in asked:
            raise EvidenceError(
                f"the transcript holds two answers to sample {answered.input[:16]}; a sample is "
                "asked once"
            )
        asked.add(answered.input)
        answers.append(answered)
    torn = 0 if unended else len(tail)
    length = len(data) - torn + unended
    return _Found(header, answers, digest, length, unended, torn)


def _require_same(path: Path, found: TranscriptHeader, wanted: TranscriptHeader) -> None:
    differing = found.differences(wanted)
    if not differing:
        return
    pairs = ", ".join(
        f"{name} (there {str(getattr(found, name))[:16]}, wanted {str(getattr(wanted, name))[:16]})"
        for name in differing
    )
    raise EvidenceError(
        f"the transcript {path} is about something else: {pairs}; each claim, batch and suspect "
        "has a transcript of its own"
    )


def _require_regular(path: Path) -> None:
    if path.exists() and not path.is_file():
        raise EvidenceError(f"the transcript {path} is no regular file")


def _lock(file: Any, path: Path) -> None:
    try:
        import fcntl  # noqa: PLC0415 - not everywhere
    except ImportError:  # pragma: no cover - other systems go without
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        raise EvidenceError(
            f"the transcript {path} is in use by another process; a claim is examined by one at a "
            "time"
        ) from error
