"""`pipeguard record`: list, show and verify. cli/record.py."""

import os
from pathlib import Path

import pytest

from tests.snapshot import Snapshot
from tests.state.record.samples import LINES, write_record


def test_records_are_listed_shown_and_verified(
    tmp_path: Path, snapshot: Snapshot, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_record(tmp_path / "records/demo-R1.jsonl")
    write_record(tmp_path / "records/demo-R2.jsonl", *LINES[:-1], LINES[1])
    changed = write_record(tmp_path / "changed.jsonl")
    changed.write_bytes(changed.read_bytes().replace(b"allow", b"block"))
    snapshot.commands(
        "record",
        """
        record list records
        record list records/demo-R1.jsonl --json
        record show records/demo-R1.jsonl
        record verify records/demo-R1.jsonl
        record verify records  # 1
        record verify changed.jsonl records/demo-R1.jsonl  # 1
        record show changed.jsonl  # 2
        record verify none.jsonl  # 1
        """,
    )


@pytest.mark.parametrize("verb", ["list", "show", "verify"])
def test_hostile_records_are_told_in_one_line(
    verb: str, tmp_path: Path, snapshot: Snapshot
) -> None:
    os.mkfifo(tmp_path / "pipe")
    deep = '{"t":' + "[" * 900 + "]" * 900
    bad = {"t": [1], "server": {}, "from": 1, "frame": "\x1b[2J\udc80", "action": None, "rules": 1}
    odd = write_record(tmp_path / "odd", LINES[0] | {"started": {}}, bad, {"what": "\x9b"}, deep)
    for name in (tmp_path / "pipe", Path("/dev/zero"), odd):
        code, *said = snapshot.run(f"record {verb} {name}")
        is_refused = verb == "show" and name != odd
        assert code == (2 if is_refused else int(verb == "verify")), said
        assert said[1].count("\n") == is_refused
        assert not any(sign in "".join(said) for sign in ("\x1b", "\x9b", "internal error"))
