"""The notes of one client's ledgers: who reads which, what stays, and what happens if they fail."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import zlib
from collections.abc import Callable, Iterator
from fcntl import LOCK_EX, flock
from functools import partial
from pathlib import Path
from threading import Timer

import pytest

from pipeguard.detect.flows.ledger import RESULT_BYTES
from pipeguard.firewall.finding import Finding
from pipeguard.firewall.session.memory import Note
from pipeguard.state import client_file, client_notes
from pipeguard.state.audit import UNSHARED
from pipeguard.state.client_notes import AREA_NOTES, ClientNotes, NotesFile, StoredNotes

MAIL = Note("mail", [True, "read_mail", 3, None, "ä\n"], b'{"id":1}')
CALC = MAIL._replace(server="calc")


OPENED: list[Process] = []


class Process:
    """What one process has of a client's notes."""

    def __init__(self, client: str = "1 2") -> None:
        self.told: list[Finding] = []
        self.file = NotesFile(lambda: client, self.told.append)
        self.notes = StoredNotes(self.file)
        OPENED.append(self)

    def read(self) -> list[Note]:
        """Read what is new, as if it were put at this moment."""
        return [note._replace(age_seconds=0.0) for note in self.notes.read_new()]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder of all clients, in a runtime folder."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setenv("PIPEGUARD_STATE_DIR", str(tmp_path / "state"))
    yield tmp_path / "pipeguard"
    while OPENED:
        OPENED.pop().file.close()


def the_file(folder: Path) -> Path:
    (found,) = folder.glob("*.notes-2")
    return found


def test_each_ledger_reads_what_the_others_put_once_and_in_order(folder: Path) -> None:
    one, two, stranger = Process(), Process(), Process("3 4")
    assert one.read() == two.read() == []
    one.notes.put([CALC])
    one.notes.put([MAIL])
    again = StoredNotes(one.file)  # of another conversation in the same process
    again.put([MAIL._replace(server="web")])
    assert two.read() == [CALC, MAIL, MAIL._replace(server="web")]
    assert (two.read(), stranger.read()) == ([], [])
    assert [note.server for note in one.notes.read_new()] == ["web"]
    assert [note.server for note in again.read_new()] == ["calc", "mail"]
    for each_process in one, two, stranger:
        each_process.file.close()
        assert each_process.told == []
    assert [*folder.iterdir()] == []


def test_only_its_owner_reads_and_writes_it(folder: Path) -> None:
    one = Process()
    one.notes.put([MAIL])
    assert [path.stat().st_mode & 0o777 for path in (folder, the_file(folder))] == [0o700, 0o600]


def test_a_server_that_says_much_does_not_displace_another(folder: Path) -> None:
    one, two = Process(), Process()
    one.notes.put([MAIL])
    large = Note("loud", (True,), b"x" * (RESULT_BYTES // 4))
    for _ in range(12):
        one.notes.put([large])
    for _ in range(3):
        one.notes.put([Note("loud", (True,), b"")] * AREA_NOTES)
    read = two.read()
    assert [note.server for note in read].count("mail") == 1
    assert sum(len(note.frame) for note in read) <= client_notes.AREA_BYTES
    assert len(read) <= RESULT_BYTES // 1024 + AREA_NOTES
    assert the_file(folder).stat().st_size < 2 * client_notes.AREA_BYTES + RESULT_BYTES


_HOLD = """
import sys
from tests.state.test_client_notes import MAIL, Process
process = Process()
process.notes.put([MAIL])
print("ready", flush=True)
sys.stdin.read()
"""


def test_what_a_killed_process_left_goes_with_the_next_start(folder: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", _HOLD], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"ready\n"
        one = Process()
        assert len(one.read()) == 1
        one.file.close()
        assert the_file(folder).exists()
        other.send_signal(signal.SIGKILL)
    next_one = Process("5 6")
    next_one.notes.put([MAIL])
    assert the_file(folder).exists()
    next_one.file.close()
    assert [*folder.iterdir()] == []


def test_who_was_there_knows_what_one_put_that_has_left(folder: Path) -> None:
    one, two = Process(), Process()
    assert two.read() == []
    one.notes.put([MAIL])
    one.file.close()
    assert len(two.read()) == 1
    two.file.close()
    assert [*folder.iterdir()] == []


def test_many_that_come_and_go_lose_nothing(folder: Path) -> None:
    command = [sys.executable, "-c", _COME_AND_GO]
    processes = [subprocess.Popen(command) for _ in range(4)]
    assert [process.wait() for process in processes] == [0] * 4
    assert [*folder.iterdir()] == []


_COME_AND_GO = """
from tests.state.test_client_notes import MAIL, Process
for _ in range(30):
    process = Process()
    process.read()
    for _ in range(5):
        process.notes.put([MAIL])
        process.read()
    process.file.close()
    assert process.told == [], process.told
"""


@pytest.mark.parametrize(("seconds", "is_put"), [(0.1, True), (20.0, False)])
def test_a_note_waits_while_another_process_writes(
    folder: Path, seconds: float, *, is_put: bool
) -> None:
    one, two = Process(), Process()
    assert two.read() == []
    lock = os.open(f"{the_file(folder)}.lock", os.O_RDWR)
    flock(lock, LOCK_EX)
    timer = Timer(seconds, os.close, [lock])
    timer.start()
    one.notes.put([MAIL])
    timer.cancel()
    assert (two.read(), len(one.told)) == ([MAIL] * is_put, not is_put)


def test_a_killed_process_leaves_no_half_a_note(folder: Path) -> None:
    one, two = Process(), Process()
    one.notes.put([MAIL])
    with the_file(folder).open("ab") as file:
        file.write(b"123\n5\n")
    one.notes.put([CALC])
    assert two.read() == [MAIL, CALC]


def test_only_what_is_ours_is_removed(folder: Path) -> None:
    for name in "home", "0" * 32:
        (folder / name).mkdir(parents=True)
        (folder / name / "letter.txt").touch()
    (folder / f"{'0' * 32}.txt").touch()
    one = Process()
    one.notes.put([MAIL])
    one.file.close()
    assert len([*folder.rglob("*.txt")]) == 3


def spoil(folder: Path, before: bytes, after: bytes) -> None:
    data = the_file(folder).read_bytes()
    assert before in data
    the_file(folder).write_bytes(data.replace(before, after))


def spoil_a_note(folder: Path, before: bytes, after: bytes) -> None:
    """Change a note, with its checksum."""
    head, note = the_file(folder).read_bytes()[:24], the_file(folder).read_bytes()[24:]
    text = note.partition(b"\n")[2].replace(before, after)
    data = b"%d\n%b" % (zlib.crc32(text), text)
    end = (len(head) + len(data)).to_bytes(8, sys.byteorder)
    the_file(folder).write_bytes(head[:8] + end + head[16:] + data)


def put_a_pipe_in_its_place(folder: Path) -> None:
    path = the_file(folder)
    path.unlink()
    os.mkfifo(path)


def put_a_link_in_its_place(folder: Path) -> None:
    the_file(folder).symlink_to(the_file(folder).rename(folder.parent / "elsewhere"))


def fill_the_disk(_: Path) -> None:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, resource.RLIM_INFINITY))


@pytest.mark.parametrize(
    "harm",
    [
        *(fill_the_disk, put_a_pipe_in_its_place, put_a_link_in_its_place),
        lambda folder: folder.chmod(0o777),
        *(lambda folder, size=size: os.truncate(the_file(folder), size) for size in (10, 24, 50)),
        *(partial(spoil, before=b"mail", after=after) for after in (b"Mail", b"mail\n")),
        partial(spoil, before=bytes(8), after=b"\xff" * 8),
        partial(spoil_a_note, before=b"[true", after=b"[" * 100_000),
        partial(spoil_a_note, before=b"mail\n", after=b""),
    ],
)
def test_a_file_that_fails_is_told_once_and_then_left(
    folder: Path, harm: Callable[[Path], None]
) -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    one = Process()
    one.notes.put([MAIL])
    try:
        harm(folder)
        two = Process()
        for _ in range(3):
            two.read()
            two.notes.put([MAIL] * 50)
        assert two.read() == []
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert [finding.rule for finding in two.told] == [UNSHARED]


def test_a_link_in_the_place_of_the_folder_is_not_followed(folder: Path) -> None:
    folder.symlink_to(folder.parent)
    one = Process()
    one.notes.put([MAIL])
    assert [finding.rule for finding in one.told] == [UNSHARED]
    assert [*folder.parent.iterdir()] == [folder]


def test_a_client_that_is_not_known_shares_nothing(folder: Path) -> None:
    one = Process("")
    one.notes.put([MAIL])
    assert (one.read(), one.told, folder.exists()) == ([], [], False)


def test_a_token_has_one_memory_and_no_token_has_none() -> None:
    told: list[Finding] = []
    here, there = ClientNotes(told.append), ClientNotes(told.append)
    mine, same, theirs = here.of_token("a"), there.of_token("a"), there.of_token("b")
    assert here.of_token("") is None
    assert mine
    assert same
    assert theirs
    mine.put([MAIL])
    assert [len(each_memory.read_new()) for each_memory in (mine, same, theirs)] == [0, 1, 0]
    here.close()
    there.close()
    assert told == []


def test_a_locked_file_is_given_up_after_a_while(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_file, "TRIES", 2)
    descriptor = os.open(client_file.client_path("1 2"), os.O_RDONLY | os.O_CREAT)
    flock(descriptor, LOCK_EX)
    one = Process()
    one.notes.put([MAIL])
    assert [finding.rule for finding in one.told] == [UNSHARED]
    os.close(descriptor)
