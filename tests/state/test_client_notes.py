"""The notes of one client's ledgers: who reads which, what stays, and what happens if they fail."""

import os
import resource
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from pipeguard.detect.flows.ledger import RESULT_BYTES
from pipeguard.firewall.finding import Finding
from pipeguard.firewall.session.memory import Note
from pipeguard.state import client_folder
from pipeguard.state.audit import UNSHARED
from pipeguard.state.client_notes import ClientNotes, NotesFile, StoredNotes
from tests.launch.processes import until

DUE = Note("mail", [True, "read_mail", 3, None, "ä"], b'{"id":1}', is_due=True)
LATE = DUE._replace(server="calc", is_due=False)


class Process:
    """What one process has of a client's notes."""

    def __init__(self, client: str = "1 2") -> None:
        self.told: list[Finding] = []
        self.file = NotesFile(lambda: client, self.told.append)
        self.notes = StoredNotes(self.file)

    def read(self) -> list[Note]:
        """Read what is new, as if it were put at this moment."""
        return [note._replace(age_seconds=0.0) for note in self.notes.read_new()]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of all clients, in a runtime folder."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setenv("PIPEGUARD_STATE_DIR", str(tmp_path / "state"))
    return tmp_path / "pipeguard"


def the_file(folder: Path) -> Path:
    (found,) = folder.glob("*/notes-*.db")
    return found


def test_each_ledger_reads_what_the_others_put_once_and_in_order(folder: Path) -> None:
    one, two, stranger = Process(), Process(), Process("3 4")
    assert one.read() == two.read() == []
    assert not [*folder.glob("*/*")], "no file is made to be read"
    one.notes.put([LATE])
    one.notes.put([DUE])
    again = StoredNotes(one.file)  # of another conversation in the same process
    again.put([DUE._replace(server="web")])
    assert two.read() == [LATE._replace(is_due=False), DUE._replace(is_due=False),
                          DUE._replace(server="web", is_due=False)]  # fmt: skip
    assert (two.read(), stranger.read()) == ([], [])
    assert [note.server for note in one.notes.read_new()] == ["web"]
    assert [note.server for note in again.read_new()] == ["calc", "mail"]
    for each_process in one, two, stranger:
        each_process.file.close()
        assert each_process.told == []
    assert [*folder.iterdir()] == []


def test_a_note_that_is_not_due_is_read_soon() -> None:
    one, two = Process(), Process()
    one.notes.put([LATE])
    until(lambda: two.read() != [], "it is read")


def test_only_its_owner_reads_and_writes_it(folder: Path) -> None:
    one = Process()
    one.notes.put([DUE])
    assert {path.stat().st_mode & 0o777 for path in folder.rglob("*") if path.is_file()} == {0o600}
    assert {path.stat().st_mode & 0o777 for path in (folder, the_file(folder).parent)} == {0o700}
    one.file.close()


def test_a_server_that_says_much_does_not_displace_another(folder: Path) -> None:
    one, two = Process(), Process()
    one.notes.put([DUE])
    large = Note("loud", (True,), b"x" * (RESULT_BYTES // 4), is_due=True)
    for _ in range(12):
        one.notes.put([large])
    for _ in range(3):
        one.notes.put([Note("loud", (True,), b"", is_due=True)] * 1500)
    read = two.read()
    assert [note.server for note in read].count("mail") == 1
    assert sum(len(note.frame) for note in read) <= RESULT_BYTES
    assert len(read) <= RESULT_BYTES // 1024
    for each_process in one, two:
        each_process.file.close()


_HOLD = """
import sys
from tests.state.test_client_notes import DUE, Process
process = Process()
process.notes.put([DUE])
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
    next_one.notes.put([DUE])
    assert len([*folder.iterdir()]) == 1
    next_one.file.close()
    assert [*folder.iterdir()] == []


def test_who_was_there_knows_what_one_put_that_has_left(folder: Path) -> None:
    one, two = Process(), Process()
    assert two.read() == []
    one.notes.put([DUE])
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
from tests.state.test_client_notes import DUE, Process
for _ in range(30):
    process = Process()
    process.read()
    for _ in range(5):
        process.notes.put([DUE])
        process.read()
    process.file.close()
    assert process.told == [], process.told
"""


def test_a_note_waits_while_another_process_writes(folder: Path) -> None:
    one, two = Process(), Process()
    one.notes.put([LATE._replace(is_due=True)])
    other = sqlite3.connect(the_file(folder), isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    one.notes.put([DUE])
    assert two.read() == []
    other.execute("ROLLBACK")
    other.close()
    one.notes.put([DUE])
    assert [note.server for note in two.read()] == ["calc", "mail", "mail"]
    for each_process in one, two:
        assert each_process.told == []
        each_process.file.close()


def test_only_what_is_ours_is_removed(folder: Path) -> None:
    folder.mkdir()
    (folder / "home").mkdir()
    (folder / "home" / "notes-1.db").touch()
    left = folder / ("0" * 32)
    left.mkdir()
    (left / "letter.txt").touch()
    one = Process()
    one.notes.put([DUE])
    one.file.close()
    assert sorted(path.name for path in folder.rglob("*.*")) == ["letter.txt", "notes-1.db"]


def cut_short(folder: Path) -> None:
    for path in the_file(folder).parent.iterdir():
        os.truncate(path, 50)


def spoil_the_table(folder: Path) -> None:
    with sqlite3.connect(the_file(folder)) as connection:
        connection.execute("DROP TABLE notes")
        connection.execute("CREATE TABLE notes (other)")


def spoil_a_row(folder: Path, *, time: object = 1e12, fields: object = "[]") -> None:
    with sqlite3.connect(the_file(folder)) as connection:
        connection.execute("CREATE TABLE spoilt AS SELECT * FROM notes")
        connection.execute("DROP TABLE notes")
        connection.execute("ALTER TABLE spoilt RENAME TO notes")
        connection.execute("UPDATE notes SET time = ?, fields = ?", (time, fields))


def put_a_pipe_in_its_place(folder: Path) -> None:
    path = the_file(folder)
    path.unlink()
    os.mkfifo(path)


def let_others_write(folder: Path) -> None:
    the_file(folder).parent.chmod(0o777)


def put_a_link_in_its_place(folder: Path) -> None:
    path = the_file(folder).parent
    path.rename(folder.parent / "elsewhere")
    path.symlink_to(folder.parent / "elsewhere")


def put_a_file_in_its_place(folder: Path) -> None:
    path = the_file(folder).parent
    path.rename(folder.parent / "elsewhere")
    path.write_text("")


def fill_the_disk(_: Path) -> None:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, resource.RLIM_INFINITY))


@pytest.mark.parametrize(
    "harm",
    [
        *(cut_short, spoil_the_table, let_others_write, fill_the_disk, put_a_pipe_in_its_place),
        *(put_a_link_in_its_place, put_a_file_in_its_place),
        *(partial(spoil_a_row, time="noon"), partial(spoil_a_row, fields=None)),
        partial(spoil_a_row, fields="[" * 100_000),
    ],
)
def test_a_file_that_fails_is_told_once_and_then_left(
    folder: Path, harm: Callable[[Path], None]
) -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    one = Process()
    one.notes.put([DUE])
    try:
        harm(folder)
        two = Process()
        for _ in range(3):
            two.read()
            two.notes.put([DUE] * 50)
        assert two.read() == []
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert [finding.rule for finding in two.told] == [UNSHARED]
    two.file.close()
    one.file.close()


def test_a_link_in_the_place_of_the_folder_is_not_followed(folder: Path) -> None:
    folder.symlink_to(folder.parent)
    one = Process()
    one.notes.put([DUE])
    assert [finding.rule for finding in one.told] == [UNSHARED]
    assert [*folder.parent.iterdir()] == [folder]


def test_a_client_that_is_not_known_shares_nothing(folder: Path) -> None:
    one = Process("")
    one.notes.put([DUE])
    assert (one.read(), one.told, folder.exists()) == ([], [], False)


def test_a_token_has_one_memory_and_no_token_has_none() -> None:
    told: list[Finding] = []
    here, there = ClientNotes(told.append), ClientNotes(told.append)
    mine, same, theirs = here.of_token("a"), there.of_token("a"), there.of_token("b")
    assert here.of_token("") is None
    assert mine
    assert same
    assert theirs
    mine.put([DUE])
    assert [len(each_memory.read_new()) for each_memory in (mine, same, theirs)] == [0, 1, 0]
    here.close()
    there.close()
    assert told == []


def test_a_locked_folder_is_given_up_after_a_while(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from fcntl import LOCK_EX, flock

    monkeypatch.setattr(client_folder, "TRIES", 2)
    path = client_folder.client_folder("1 2")
    os.mkdir(path, 0o700)
    descriptor = os.open(path, os.O_RDONLY)
    flock(descriptor, LOCK_EX)
    one = Process()
    one.notes.put([DUE])
    assert [finding.rule for finding in one.told] == [UNSHARED]
    os.close(descriptor)
