"""Lines of a record: changed, cut and hostile ones. state/record/lines.py."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeguard.state.record.lines import BEGINNING, RecordError, read_lines
from tests.state.record.samples import HEADER, LINES, write_record


def test_a_changed_bit_is_found_in_its_line_and_a_cut_loses_no_other(tmp_path: Path) -> None:
    path = write_record(tmp_path / "a.jsonl")
    whole = path.read_bytes()
    assert [fields for _, fields in read_lines(path)] == list(LINES)
    for position in range(len(whole) - 1):
        bit = 1 << position % 8
        path.write_bytes(whole[:position] + bytes([whole[position] ^ bit]) + whole[position + 1 :])
        before = whole.count(b"\n", 0, position)
        with pytest.raises(RecordError, match=rf"a\.jsonl, line {before + 1}: "):
            list(read_lines(path))
        path.write_bytes(whole[:position])
        if before:
            assert len(list(read_lines(path))) == before


def _reorder(*order: int) -> Callable[[Path], object]:
    def write(path: Path) -> None:
        lines = write_record(path).read_bytes().splitlines(keepends=True)
        path.write_bytes(b"".join(lines[index] for index in order))

    return write


HOSTILE: dict[str, Callable[[Path], object]] = {
    "no whole line": lambda path: path.write_bytes(BEGINNING),
    "no record of version 1": lambda path: write_record(path, HEADER | {"version": 2}),
    "not a file": os.mkfifo,
    "not a file ": lambda path: path.symlink_to("/dev/zero"),
    "not a file  ": lambda path: path.symlink_to(path),
    "line 3: it was changed": _reorder(0, 1, 1),
    "line 2: it was changed": _reorder(0, 2, 1),
    "line 6: it was changed ": _reorder(0, 1, 2, 3, 4, 4),
    "line 2: it was changed   ": lambda path: write_record(path, HEADER, '{"a":' + "[" * 10**6),
    "line 2: it was changed ": lambda path: write_record(path, HEADER, '{"n":' + "9" * 5000),
    "line 2: it was changed  ": lambda path: os.truncate(write_record(path, HEADER), 2**26),
    "line 6: it was changed": lambda path: path.write_bytes(write_record(path).read_bytes() + b"{"),
}


@pytest.mark.parametrize("why", HOSTILE)
def test_what_is_no_record_is_told_and_never_waited_for(why: str, tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    HOSTILE[why](path)
    with pytest.raises(RecordError, match=why.strip()):
        list(read_lines(path))
