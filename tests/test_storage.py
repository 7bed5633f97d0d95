"""Atomic writing: the old file or the new one, and nothing left over."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import NoReturn

import pytest

from modeldeed.storage import write_atomically


def modes(folder: Path) -> dict[str, int]:
    return {entry.name: stat.S_IMODE(entry.stat().st_mode) for entry in folder.iterdir()}


def test_a_file_is_written_and_replaced(tmp_path: Path) -> None:
    path = tmp_path / "file"
    for content in (b"one", b"", bytes(range(256)) * 5000):
        write_atomically(path, content)
        assert path.read_bytes() == content
    assert os.listdir(tmp_path) == ["file"]


@pytest.mark.parametrize("failure", [OSError("disk full"), KeyboardInterrupt(), MemoryError()])
@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_crash_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str, failure: BaseException
) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    seen: list[bytes] = []

    def fail(*_: object) -> NoReturn:
        seen.append(path.read_bytes())
        raise failure

    monkeypatch.setattr(*((os, "fsync", fail) if step == "fsync" else (Path, "replace", fail)))
    with pytest.raises(type(failure)):
        write_atomically(path, b"new")
    monkeypatch.undo()
    assert seen == [b"old"], "the old file stands until the very last step"
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["file"]


def test_the_content_is_flushed_before_it_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    order: list[str] = []
    fsync, replace = os.fsync, Path.replace
    monkeypatch.setattr(os, "fsync", lambda fd: (order.append("fsync"), fsync(fd))[1])
    monkeypatch.setattr(
        Path, "replace", lambda self, to: (order.append("replace"), replace(self, to))[1]
    )
    write_atomically(path, b"new")
    assert order == ["fsync", "replace"]


def test_a_missing_folder_is_an_error_and_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        write_atomically(tmp_path / "no" / "file", b"x")
    assert os.listdir(tmp_path) == []


@pytest.mark.skipif(os.name != "posix", reason="modes are a POSIX matter")
@pytest.mark.parametrize(("umask", "plain"), [(0, 0o666), (0o022, 0o644), (0o077, 0o600)])
def test_the_mode_is_private_for_secrets_and_the_umasks_otherwise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, umask: int, plain: int
) -> None:
    during: list[dict[str, int]] = []
    fsync = os.fsync
    monkeypatch.setattr(os, "fsync", lambda fd: (during.append(modes(tmp_path)), fsync(fd))[1])
    before = os.umask(umask)
    try:
        write_atomically(tmp_path / "secret", b"x", secret=True)
        write_atomically(tmp_path / "plain", b"x")
    finally:
        os.umask(before)
    assert modes(tmp_path) == {"secret": 0o600, "plain": plain}
    assert list(during[0].values()) == [0o600], "not even the unfinished file is open to others"
