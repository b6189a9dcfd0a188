"""A server's standard error in a file of its own: masked, bounded, followed."""

from threading import Thread

import pytest
from click.testing import CliRunner

from pipeguard.cli.logs import command
from pipeguard.errors import InputError
from pipeguard.gateway import server_output
from pipeguard.gateway.server_output import ServerOutput, following_lines, last_lines, output_path


def texts(server: str, count: int = 100) -> list[str]:
    """The lines without their times."""
    return [line.partition(" ")[2] for line in last_lines(server, count)]


def test_lines_have_the_time_and_no_secret_and_no_escape() -> None:
    output = ServerOutput("git", lambda text: text.replace(b"hunter2", b"[masked]"))
    assert output(b"password hunter2\n\x1b[2Jhalf") == b""
    output(b" a line\n")
    assert texts("git") == ["password [masked]", "^[[2Jhalf a line"]
    assert texts("git", 1) == ["^[[2Jhalf a line"]
    assert output_path("git").stat().st_mode & 0o077 == 0


def test_what_a_terminal_would_hide_or_obey_is_shown() -> None:
    output_path("git").parent.mkdir(parents=True)
    output_path("git").write_text("a\u202eb\x1b[2J\tc \u05d0\n")
    shown = CliRunner().invoke(command, ["git"])
    assert shown.stdout == "a⟨U+202E⟩b⟨U+001B⟩[2J c \u05d0\n"


def test_what_a_server_writes_takes_a_bounded_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_output, "MOST_BYTES", 1000)
    output = ServerOutput("noisy", bytes)
    for number in range(500):
        output(b"line %d\n" % number)
    files = list(output_path("noisy").parent.iterdir())
    assert len(files) == 2
    assert sum(file.stat().st_size for file in files) < 2 * 1100
    assert texts("noisy", 1) == ["line 499"]


def test_a_name_stays_in_the_folder() -> None:
    assert output_path("../../etc/passwd").parent == output_path("git").parent


def test_new_lines_are_followed_into_the_next_file(monkeypatch: pytest.MonkeyPatch) -> None:
    output = ServerOutput("git", bytes)
    output(b"before\n")
    following = following_lines("git")
    heard: list[str] = []
    thread = Thread(target=lambda: heard.extend(next(following) for _ in range(3)), daemon=True)
    thread.start()
    while not heard:  # until it listens
        output(b"first\n")
    monkeypatch.setattr(server_output, "MOST_BYTES", 1)
    output(b"second\n")
    while thread.is_alive():
        output(b"more\n")
    following.close()  # type: ignore[attr-defined]
    assert "before" not in " ".join(heard)
    assert heard[0].endswith("first")


def test_a_server_that_wrote_nothing_is_told_with_those_that_did() -> None:
    ServerOutput("git", bytes)(b"hello\n")
    with pytest.raises(InputError, match="These have: git"):
        last_lines("svn", 5)
