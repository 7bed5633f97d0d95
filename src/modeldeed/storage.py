"""Files: written whole or not at all, and read only where they are what they should be."""

from __future__ import annotations

import os
import secrets
import stat
from pathlib import Path

from modeldeed.errors import EvidenceError

__all__ = ["bounded_bytes", "write_atomically"]


def write_atomically(
    path: Path, data: bytes, *, secret: bool = False, overwrite: bool = True
) -> None:
    """Write a file under a temporary name in its folder, flush it to disk, rename it.

    Args:
        path: where the file shall stand; an existing file is replaced in one step.
        data: its whole content.
        secret: leave it readable by its owner only (mode 0600).
        overwrite: replace an existing file; otherwise fail, also against another process.

    Raises:
        FileExistsError: the file exists and must not be replaced.
        FileNotFoundError: the folder is missing.
        OSError: it is not writable, or full; nothing is left behind.
    """
    if not path.parent.is_dir():
        raise FileNotFoundError(f"{path} cannot be written: {path.parent} is no folder; make it")
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    mode = 0o600 if secret else 0o666  # the umask still applies
    try:
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    except OSError as error:  # named after the file, of whose temporary name nobody knows
        raise type(error)(error.errno, error.strerror, str(path)) from error
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        if overwrite:
            temporary.replace(path)
        else:
            os.link(temporary, path)  # fails where a rename would replace
            temporary.unlink()
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def bounded_bytes(path: Path, limit: int) -> bytes:
    """The content of a file of evidence.

    Raises:
        EvidenceError: it is no regular file, larger than the limit, or unreadable.
    """
    try:
        status = path.stat()
        # A device or a pipe has no size to hold against the limit, and may never end.
        if not stat.S_ISREG(status.st_mode):
            raise EvidenceError(f"{path} is no regular file")
        if status.st_size > limit:
            raise EvidenceError(f"{path} has {status.st_size} bytes, over the limit of {limit}")
        return path.read_bytes()
    except OSError as error:
        raise EvidenceError(f"{path} cannot be read: {error.strerror}") from error
