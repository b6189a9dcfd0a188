"""The installation's key: made once, readable only by its owner, and refused if invalid."""

import errno
import hmac
import os
import threading
from pathlib import Path

import pytest

from pipeguard.errors import StateError
from pipeguard.state.contents_key import KEY_BYTES, KEY_NAME, KeyedHash, contents_key


def test_it_is_made_once_for_the_owner_alone(tmp_path: Path) -> None:
    store = str(tmp_path / "pipeguard.db")
    key = contents_key(store)
    assert len(key) == KEY_BYTES
    assert contents_key(store) == key
    assert (tmp_path / KEY_NAME).stat().st_mode & 0o777 == 0o600
    assert [path.name for path in tmp_path.iterdir()] == [KEY_NAME]


def without_links(*_: object) -> None:
    """`os.link`, as a file system without links has it."""
    raise PermissionError(errno.EPERM, "Operation not permitted")


@pytest.mark.parametrize("has_links", [True, False])
def test_runs_that_start_at_once_have_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, has_links: bool
) -> None:
    if not has_links:
        monkeypatch.setattr(os, "link", without_links)
    keys: list[bytes] = []
    together = threading.Barrier(8)

    def start() -> None:
        together.wait()
        keys.append(contents_key(str(tmp_path / "pipeguard.db")))

    threads = [threading.Thread(target=start, daemon=True) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(keys) == 8
    assert len(set(keys)) == 1
    assert (tmp_path / KEY_NAME).read_bytes() == keys[0]
    assert (tmp_path / KEY_NAME).stat().st_mode & 0o777 == 0o600
    assert [path.name for path in tmp_path.iterdir()] == [KEY_NAME]


@pytest.mark.parametrize("content", [b"", b"short", bytes(KEY_BYTES + 1)])
def test_what_is_no_key_is_refused_with_what_to_do(tmp_path: Path, content: bytes) -> None:
    (tmp_path / KEY_NAME).write_bytes(content)
    (tmp_path / KEY_NAME).chmod(0o600)
    with pytest.raises(StateError, match=r"is not a key(?s:.*)Remove it"):
        contents_key(str(tmp_path / "pipeguard.db"))


def test_a_key_that_others_could_have_written_is_refused(tmp_path: Path) -> None:
    contents_key(str(tmp_path / "pipeguard.db"))
    (tmp_path / KEY_NAME).chmod(0o666)
    with pytest.raises(StateError, match="may write to"):
        contents_key(str(tmp_path / "pipeguard.db"))


def test_a_folder_that_cannot_be_used_is_told(tmp_path: Path) -> None:
    with pytest.raises(StateError, match="cannot be used: No such file"):
        contents_key(str(tmp_path / "nowhere" / "pipeguard.db"))


@pytest.mark.parametrize("size", [0, 1, 63, 64, 65, 5000])
@pytest.mark.parametrize("key", [b"", bytes(range(KEY_BYTES)), b"k" * 64])
def test_a_frame_is_hashed_as_rfc_2104_says(key: bytes, size: int) -> None:
    frame = os.urandom(size)
    keyed = KeyedHash(key)
    assert {keyed(frame), keyed(frame)} == {hmac.new(key, frame, "sha256").hexdigest()}
