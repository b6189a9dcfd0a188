"""The export of the audit: no row is lost, whatever ends it, and none has two ids."""

import json
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pipeguard.__main__ import _run
from pipeguard.state.paths import state_folder, store_path
from tests.forking import PIPEGUARD
from tests.launch.processes import PATIENCE_SECONDS
from tests.state.export.exports import EXPORT, change_store, export, fill, following, sent, wait_for


def test_a_folder_has_a_file_for_each_day(tmp_path: Path) -> None:
    first, second = fill(2, "A", day=20), fill(2, "B", day=21)
    change_store("UPDATE audit SET time = '../../x' WHERE chain = 'B' AND seq = 1")
    assert export(f"{tmp_path}/days/") == 0
    files = {file.name: sent(file) for file in (tmp_path / "days").iterdir()}
    dated = {"2026-11-20.jsonl": first, "2026-11-21.jsonl": second[1:]}
    assert files == {**dated, "no-date.jsonl": second[:1]}


@pytest.mark.parametrize("form", ["jsonl", "csv"])
def test_a_batch_cut_at_any_byte_is_sent_again(form: str, tmp_path: Path) -> None:
    file, cursor = tmp_path / f"audit.{form}", state_folder() / "export-one.json"
    ids = fill(1)
    assert export(file, "--format", form) == 0
    size, place = file.stat().st_size, cursor.read_bytes()
    ids += fill(2, "B")
    assert export(file, "--format", form) == 0
    whole = file.read_bytes()
    for cut in {*range(0, len(whole), 17), *range(len(whole) - 3, len(whole) + 1)}:
        file.write_bytes(whole[:cut])
        cursor.unlink() if cut < size else cursor.write_bytes(place)
        assert export(file, "--format", form) == 0
        assert list(dict.fromkeys(sent(file))) == ids, f"after {cut} bytes"
    assert file.stat().st_mode & 0o777 == 0o600


def test_no_kill_loses_a_row(tmp_path: Path) -> None:
    file = tmp_path / "audit.jsonl"
    ids = fill(12_000)
    words = [*PIPEGUARD, *EXPORT, "--to", str(file), "--cursor", "one"]
    for step in range(1, 6):
        with subprocess.Popen(words) as process:
            while process.poll() is None and (
                not file.exists() or file.stat().st_size < step * 700_000
            ):
                pass
            process.kill()
    assert export(file) == 0
    assert list(dict.fromkeys(sent(file))) == ids


@pytest.mark.skipif(sys.platform != "linux", reason="raises another process's limit")
def test_a_full_disk_loses_no_row(tmp_path: Path) -> None:
    file, log = tmp_path / "audit.jsonl", tmp_path / "log"
    ids = fill(1500)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (600_000, limits[1]))
    try:
        with following(file, log) as process:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
            wait_for(log, "cannot be written: File too large.")
            assert sent(file) == ids[:500], "the part of a batch is gone"
            resource.prlimit(process.pid, resource.RLIMIT_FSIZE, limits)
            wait_for(file, f'"{ids[-1]}"')
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert sent(file) == ids


def test_another_store_is_exported_from_its_first_row(tmp_path: Path) -> None:
    file, log = tmp_path / "audit.jsonl", tmp_path / "log"
    ids = fill(3)
    with following(file, log):
        wait_for(state_folder() / "export-one.json", "POSTURE-")
        for end in ("", "-wal", "-shm"):
            Path(f"{store_path()}{end}").unlink(missing_ok=True)
        ids += fill(2, "NEW")
        wait_for(log, "/1, is not in the store")
        wait_for(file, ids[-1])
    assert sent(file) == ids


def test_rows_that_were_removed_or_changed_do_not_end_it(tmp_path: Path) -> None:
    file = tmp_path / "audit.jsonl"
    fill(5)
    change_store("DELETE FROM audit WHERE seq IN (2, 3)")
    change_store("UPDATE audit SET findings = cast(x'5bff' AS TEXT) WHERE seq = 4")
    change_store(
        "UPDATE audit SET findings = replace(hex(zeroblob(50000)), '0', '[') WHERE seq = 5"
    )
    assert export(file) == 0
    assert sent(file) == ["RUN/1", "RUN/4", "RUN/5"]


def test_a_cursor_has_one_target_and_one_exporter(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    file, log = tmp_path / "audit.jsonl", tmp_path / "log"
    fill(1)
    with following(file, log) as process:
        wait_for(state_folder() / "export-one.json", "POSTURE-")
        assert export(file) == 1
        assert capfd.readouterr().err.startswith("pipeguard: the cursor one is not free")
        process.send_signal(signal.SIGINT)
        process.wait(PATIENCE_SECONDS)
    assert export(tmp_path / "other") == 2
    assert f"is of another target: jsonl {file}." in capfd.readouterr().err
    for damaged in ("{", "[" * 50_000, json.dumps({"target": f"jsonl {file}", "number": "x"})):
        (state_folder() / "export-one.json").write_text(damaged)
        assert export(file) == 4


COLLECTOR = "http://127.0.0.1:4318"
WRONG = (
    *(COLLECTOR, "audit.otlp --format otlp", "audit.jsonl --format csv", "new --action block"),
    *("ftp://127.0.0.1/ --format otlp", "https://user:word@example.com --format otlp"),
    *("none/audit.jsonl", "link", "notes.txt", "pipe", "new --cursor ../one"),
)


@pytest.mark.parametrize("words", WRONG)
def test_a_wrong_target_gets_no_row(
    words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    fill(1)
    assert export("audit.jsonl", cursor="first") == 0
    Path("notes.txt").write_text("mine, without an end")
    Path("link").symlink_to("elsewhere")
    os.mkfifo("pipe")
    before = {path: path.read_bytes() for path in tmp_path.glob("*.*")}
    assert export(*words.split()) == 2
    assert {path: path.read_bytes() for path in before} == before
    assert not Path("elsewhere").exists()


@pytest.mark.parametrize("words", ["--to x", "--cursor x", "--follow", "--format otlp"])
def test_options_that_belong_together_are_given_together(words: str) -> None:
    assert _run([*EXPORT, *words.split()]) == 2
