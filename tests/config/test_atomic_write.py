"""A file is replaced atomically."""

import os
import stat
from pathlib import Path

import pytest

from pipeguard.config.atomic_write import replace_file, write_draft


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "policy.yaml"


def test_a_file_is_made_for_its_owner_alone(path: Path) -> None:
    replace_file(path, b"new")
    assert path.read_bytes() == b"new"
    assert os.name != "posix" or stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_file_is_replaced_with_the_mode_that_is_given(path: Path) -> None:
    path.write_bytes(b"old")
    replace_file(path, b"new", 0o644)
    assert path.read_bytes() == b"new"
    assert os.name != "posix" or stat.S_IMODE(path.stat().st_mode) == 0o644
    assert list(path.parent.iterdir()) == [path]


def test_who_reads_meanwhile_sees_the_old_file_whole(path: Path) -> None:
    path.write_bytes(b"old")
    with write_draft(path, b"new") as draft:
        assert path.read_bytes() == b"old"
        assert Path(draft).read_bytes() == b"new"
        assert Path(draft).parent == path.parent
    assert path.read_bytes() == b"new"


def test_a_failure_before_the_move_leaves_the_old_file_and_no_draft(path: Path) -> None:
    path.write_bytes(b"old")
    with pytest.raises(ValueError, match="changed"), write_draft(path, b"new"):
        raise ValueError("changed")
    assert path.read_bytes() == b"old"
    assert list(path.parent.iterdir()) == [path]


def test_a_move_that_fails_leaves_no_draft(path: Path) -> None:
    path.mkdir()
    (path / "inside").touch()
    with pytest.raises(OSError, match="directory"):
        replace_file(path, b"new")
    assert list(path.parent.iterdir()) == [path]
