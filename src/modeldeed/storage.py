"""Writing files so that a crash leaves the old one or the new one, never half of either."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

__all__ = ["write_atomically"]


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
        OSError: the folder is missing or not writable; nothing is left behind.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    mode = 0o600 if secret else 0o666  # the umask still applies
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
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
