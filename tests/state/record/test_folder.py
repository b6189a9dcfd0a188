"""The folder of records: rights, new files, and what is removed. state/record/folder.py."""

import os
from pathlib import Path

import pytest

from pipeguard.errors import PolicyError
from pipeguard.state.record.folder import RecordFolder
from tests.people import share
from tests.state.record.samples import write_record

NOW, DAY = 1_800_000_000.0, 86_400.0


def test_a_folder_is_made_for_its_owner_alone(tmp_path: Path) -> None:
    folder = RecordFolder(str(tmp_path / "a" / "b"))
    folder.open()
    folder.open()
    files = [Path(folder.create("../Änd/\n\x1b", "R1")) for _ in range(3)]
    assert [file.name for file in files] == ["Änd-R1.jsonl", "Änd-R1-2.jsonl", "Änd-R1-3.jsonl"]
    assert {file.stat().st_mode & 0o777 for file in files} == {0o600}
    assert (tmp_path / "a" / "b").stat().st_mode & 0o777 == 0o700


def test_a_folder_that_cannot_be_used_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "shared").mkdir()
    share(tmp_path / "shared")
    (tmp_path / "shared").chmod(0o770)
    for name in ("file", "file/below", "loop", "shared"):
        with pytest.raises(PolicyError, match=f"{name}[ ,]"):
            RecordFolder(str(tmp_path / name)).open()


def test_old_records_are_removed_and_no_other_file(tmp_path: Path) -> None:
    for age in (0, 1, 2, 29, 31):
        write_record(tmp_path / f"{age}.jsonl")
        os.utime(tmp_path / f"{age}.jsonl", (NOW - age * DAY, NOW - age * DAY))
    (tmp_path / "mine.jsonl").write_text('{"format":"mine"}\n')
    os.utime(tmp_path / "mine.jsonl", (0, 0))
    (tmp_path / "link.jsonl").symlink_to("nothing")
    os.mkfifo(tmp_path / "pipe.jsonl")
    others = {"mine", "link", "pipe"}
    size_bytes = (tmp_path / "0.jsonl").stat().st_size
    for limits, left in (
        ({"keep_days": 0}, {"0", "1", "2", "29", "31"}),
        ({}, {"0", "1", "2", "29"}),
        ({"total_bytes": 2 * size_bytes}, {"0", "1"}),
        ({"total_bytes": size_bytes - 1}, set[str]()),
    ):
        RecordFolder(str(tmp_path), **limits).prune(NOW)
        assert {path.stem for path in tmp_path.iterdir()} == left | others
