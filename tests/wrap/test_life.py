"""The end of a run, whoever ends it: each request is answered, and no process remains."""

import os
import signal
import stat
from pathlib import Path

import pytest

from tests.forking import PIPEGUARD
from tests.launch.processes import PATIENCE_SECONDS, fill, is_running, until
from tests.wrap.wrapped import GONE, PYTHON, SERVER, Wrapped, error_code, result

pytestmark = pytest.mark.usefixtures("started")

# What npx and uvx do: a shell that starts a shell that starts the server, and stays.
CHAIN = ("sh", "-c", 'sh -c \'"$0" "$@"; exit $?\' "$0" "$@"; exit $?')


def chained() -> list[str]:
    return [*CHAIN, *PYTHON, str(SERVER)]


@pytest.mark.parametrize("command", [None, chained()], ids=["server", "chain"])
def test_the_client_hangs_up_and_everything_ends_with_the_servers_code(
    tmp_path: Path, command: list[str] | None
) -> None:
    with Wrapped(tmp_path, command=command).opened() as wrapped:
        wrapped.end_silently()
        wrapped.none_is_left()
        assert wrapped.said() == ""


def test_what_was_asked_before_the_client_hung_up_is_delivered_and_answered(tmp_path: Path) -> None:
    with Wrapped(tmp_path) as wrapped:
        ids = [wrapped.request("do/echo", text=str(number)) for number in range(100)]
        wrapped.hang_up()
        answers = wrapped.frames_to_the_end()
        assert [answer["id"] for answer in answers] == ids
        assert all("result" in answer for answer in answers)
        assert wrapped.code() == 0


@pytest.mark.parametrize(("rest", "outcome"), [('ng"}', "result"), ("", "error")])
def test_a_whole_message_passes_without_a_newline(tmp_path: Path, rest: str, outcome: str) -> None:
    with Wrapped(tmp_path).opened() as wrapped:
        wrapped.send(b'{"jsonrpc":"2.0","id":7,"method":"pi' + rest.encode())
        wrapped.hang_up()
        (answer,) = wrapped.frames_to_the_end()
        assert answer["id"] == 7
        assert outcome in answer
        assert wrapped.code() == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_ends_it_and_open_requests_are_answered(
    tmp_path: Path, number: signal.Signals
) -> None:
    with Wrapped(tmp_path).opened() as wrapped:
        open_ids = [wrapped.request("do/nothing") for _ in range(3)]
        assert "result" in wrapped.ask("ping")
        wrapped.kill(number)
        answers = wrapped.frames_to_the_end()
        assert [answer["id"] for answer in answers] == open_ids
        assert {error_code(answer) for answer in answers} == {GONE}
        assert "ended before it answered (PipeGuard was told to stop)" in str(answers[0])
        assert wrapped.code() == 0


def test_a_signal_waits_for_an_answer_that_comes_soon(tmp_path: Path) -> None:
    with Wrapped(tmp_path).opened() as wrapped:
        asked = wrapped.request("do/wait", text=str(tmp_path / "go"))
        until(wrapped.is_idle, "it waits")
        wrapped.kill(signal.SIGTERM)
        (tmp_path / "go").touch()
        (answer,) = wrapped.frames_to_the_end()
        assert (answer["id"], "result" in answer) == (asked, True)
        assert wrapped.code() == 0


@pytest.mark.parametrize("how", ["signal", "hang up"])
def test_the_end_is_noticed_while_the_server_does_not_read(tmp_path: Path, how: str) -> None:
    with Wrapped(tmp_path, options=("--grace", "0.2")).opened() as wrapped:
        asked = [wrapped.request("do/wait", text=str(tmp_path / "never"))]
        asked.append(wrapped.request("do/echo", text="x " * 2**20))  # more than the pipe holds
        until(wrapped.is_idle, "the pipe is full")
        if how == "signal":
            wrapped.kill(signal.SIGTERM)
        else:
            asked.append(wrapped.request("ping"))
            wrapped.hang_up()
        answers = {answer["id"]: error_code(answer) for answer in wrapped.frames_to_the_end()}
        assert answers == dict.fromkeys(asked, GONE)
        assert wrapped.code() == 128 + signal.SIGTERM


def test_a_slow_server_gets_what_the_client_wrote_before_it_hung_up(tmp_path: Path) -> None:
    with Wrapped(tmp_path, options=("--grace", "1")).opened() as wrapped:
        go, full = {"text": str(tmp_path / "go")}, {"text": "x " * 2**17}
        waits = wrapped.requests(("do/wait", {**go}), ("do/echo", {**full}), ("ping", {}))
        until(wrapped.is_idle, "the pipe is full")
        wrapped.hang_up()
        (tmp_path / "go").touch()
        answers = [answer["id"] for answer in wrapped.frames_to_the_end() if "result" in answer]
        assert answers == waits


def test_a_second_signal_hastens_the_end(tmp_path: Path) -> None:
    with Wrapped(tmp_path, "stubborn", options=("--grace", "600")).opened() as wrapped:
        wrapped.kill(signal.SIGTERM)
        until(wrapped.is_idle, "the first one is being waited out")
        wrapped.kill(signal.SIGTERM)
        assert wrapped.code() == 128 + signal.SIGKILL


def test_a_server_that_ignores_both_eof_and_sigterm_is_killed(tmp_path: Path) -> None:
    with Wrapped(tmp_path, "stubborn", options=("--grace", "0.1")).opened() as wrapped:
        waits = wrapped.request("do/nothing")
        wrapped.hang_up()
        assert [error_code(answer) for answer in wrapped.frames_to_the_end()] == [GONE]
        assert wrapped.code() == 128 + signal.SIGKILL
        assert waits


@pytest.mark.parametrize("command", [None, chained()], ids=["server", "chain"])
def test_killed_outright_it_leaves_nothing_running(
    tmp_path: Path, command: list[str] | None
) -> None:
    with Wrapped(tmp_path, command=command).opened() as wrapped:
        assert len(wrapped.running()) >= (3 if command is None else 5)
        wrapped.kill(signal.SIGKILL)
        assert wrapped.code() == -signal.SIGKILL
        wrapped.none_is_left()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_grandchild_that_left_its_session_does_not_outlive_it(
    tmp_path: Path, number: signal.Signals
) -> None:
    with Wrapped(tmp_path, options=("--grace", "0.1")).opened() as wrapped:
        told = tmp_path / "escaped"
        wrapped.ask("do/escape", text=str(told))
        until(lambda: told.exists() and told.read_text() != "", "it told its number")
        assert is_running(int(told.read_text()))
        wrapped.kill(number)
        wrapped.code()
        wrapped.none_is_left()
        assert not is_running(int(told.read_text()))


@pytest.mark.parametrize("dies", [False, True])
def test_a_client_that_no_longer_reads_at_all_is_gone(tmp_path: Path, *, dies: bool) -> None:
    with Wrapped(tmp_path).opened() as wrapped:
        assert wrapped.process.stdout is not None
        wrapped.process.stdout.close()
        wrapped.request("do/flood", number=1000, text="is anybody there?")
        if dies:
            wrapped.hang_up()
        assert wrapped.code() == 0  # EPIPE ends it, and is no error of the server's
        assert "Traceback" not in wrapped.said()


def test_a_client_that_hung_up_and_does_not_read_does_not_hold_it(tmp_path: Path) -> None:
    with Wrapped(tmp_path, options=("--grace", "0.1")).opened() as wrapped:
        wrapped.request("do/flood", number=10_000, text="word " * 20)
        until(wrapped.is_idle, "the pipe to the client is full")
        wrapped.hang_up()
        assert wrapped.code() == 128 + signal.SIGTERM  # the server was stuck in a write


@pytest.mark.parametrize("code", [0, 3])
def test_everybody_is_answered_though_the_server_exits_at_once(tmp_path: Path, code: int) -> None:
    with Wrapped(tmp_path, f"exit={code}") as wrapped:
        first = wrapped.request("initialize", protocolVersion="2025-06-18")
        answers = wrapped.frames_to_the_end()
        assert [(answer["id"], error_code(answer)) for answer in answers] == [(first, GONE)]
        assert f"ended before it answered (exit code {code})" in str(answers)
        assert f"the server ended during a request why='exit code {code}'" in wrapped.said()
        assert wrapped.code() == code


def test_a_server_gone_mid_frame_leaves_no_half_a_frame(tmp_path: Path) -> None:
    with Wrapped(tmp_path).opened() as wrapped:
        ids = [wrapped.request("do/nothing"), wrapped.request("do/half", number=5)]
        answers = wrapped.frames_to_the_end()
        assert [answer["id"] for answer in answers] == ids
        assert {error_code(answer) for answer in answers} == {GONE}
        assert wrapped.code() == 5


def test_answers_that_a_dying_server_still_gave_are_passed_on(tmp_path: Path) -> None:
    with Wrapped(tmp_path).opened() as wrapped:
        given = [wrapped.request("do/echo", text=str(number)) for number in range(200)]
        unanswered = wrapped.requests(("do/exit", {"number": 0}), *[("do/echo", {})] * 20)
        answers = wrapped.frames_to_the_end()
        assert [answer["id"] for answer in answers if "result" in answer] == given
        # What the server never read is answered as its write fails, before what it still had.
        failed = [answer["id"] for answer in answers if "error" in answer]
        assert sorted(failed, key=str) == unanswered
        assert wrapped.code() == 0


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV, signal.SIGTERM])
def test_a_servers_signal_gives_128_and_its_number(tmp_path: Path, number: signal.Signals) -> None:
    with Wrapped(tmp_path).opened() as wrapped:
        id_ = wrapped.request("do/kill", number=number)
        answers = wrapped.frames_to_the_end()
        assert [(answer["id"], error_code(answer)) for answer in answers] == [(id_, GONE)]
        assert f"ended before it answered (ended by signal {number:d})" in str(answers)
        assert wrapped.code() == 128 + number


def test_requests_of_the_server_are_called_off_when_it_dies(tmp_path: Path) -> None:
    with Wrapped(tmp_path).opened() as wrapped:
        wrapped.ask("do/ask")
        assert wrapped.seen[-1]["id"] == "theirs"
        wrapped.request("do/exit", number=0)
        *_, last = wrapped.frames_to_the_end()
        assert last["method"] == "notifications/cancelled"
        assert last["params"] == {"requestId": "theirs", "reason": "the server hung up"}


def test_a_server_that_closes_its_stdout_and_lives_is_ended(tmp_path: Path) -> None:
    with Wrapped(tmp_path, options=("--grace", "0.1")).opened() as wrapped:
        id_ = wrapped.request("do/close-stdout")
        assert error_code(wrapped.answer(id_)) == GONE
        assert wrapped.code() == 128 + signal.SIGTERM


def test_a_server_that_closes_its_stdin_may_say_what_it_has_to_say(tmp_path: Path) -> None:
    with Wrapped(tmp_path, options=("--grace", "60")).opened() as wrapped:
        go_on = tmp_path / "go-on"
        first = wrapped.request("do/close-stdin", text=str(go_on), number=4)
        assert result(wrapped.answer(first)) == {}
        second = wrapped.request("do/echo")
        go_on.touch()
        answers = wrapped.frames_to_the_end()
        assert [(answer["id"], error_code(answer)) for answer in answers] == [(second, GONE)]
        assert wrapped.code() == 4


def test_a_slow_client_gets_all_that_a_dead_server_said(tmp_path: Path) -> None:
    with Wrapped(tmp_path, options=("--grace", "0.1")).opened() as wrapped:
        large = wrapped.request("do/large", number=4 * 2**20)
        wrapped.request("do/exit", number=0)
        server = tmp_path / "server"
        until(lambda: wrapped.is_idle() or server.exists(), "the pipes are full")
        text = result(wrapped.answer(large))["text"]
        assert isinstance(text, str)
        assert len(text) == 4 * 2**20 // 5 * 5
        assert wrapped.code() == 0


# --- no server at all -------------------------------------------------------------------


def test_a_missing_command_is_told_on_stderr_and_in_answers(tmp_path: Path) -> None:
    with Wrapped(tmp_path, command=["no-such-server-here", "--token", "x"]) as wrapped:
        ids = [wrapped.request("initialize"), wrapped.request("tools/list")]
        wrapped.hang_up()
        answers = wrapped.frames_to_the_end()
        assert [(answer["id"], error_code(answer)) for answer in answers] == [
            (id_, GONE) for id_ in ids
        ]
        assert "no-such-server-here: command not found" in str(answers[0])
        assert os.environ["PATH"] not in str(answers)
        assert wrapped.code() == 127
        said = wrapped.said().splitlines()
        assert len(said) == 1
        assert said[0].startswith("pipeguard: no-such-server-here: command not found")
        assert os.environ["PATH"] in said[0]


def test_a_client_that_never_asks_does_not_hold_it(tmp_path: Path) -> None:
    with Wrapped(tmp_path, command=["no-such-server-here"]) as wrapped:
        assert wrapped.frames_to_the_end() == []
        assert wrapped.code() == 127


def test_a_file_that_is_not_executable_gives_126(tmp_path: Path) -> None:
    program = tmp_path / "server"
    program.write_text("#!/bin/sh\n")
    program.chmod(stat.S_IRUSR | stat.S_IWUSR)
    with Wrapped(tmp_path, command=[str(program)]) as wrapped:
        id_ = wrapped.request("initialize")
        assert error_code(wrapped.answer(id_)) == GONE
        wrapped.hang_up()
        assert wrapped.code() == 126
        assert f"{program}: cannot be run: Permission denied" in wrapped.said()


# --- both sides at once -----------------------------------------------------------------


@pytest.mark.parametrize("turn", range(2))
def test_each_request_is_answered_once_when_both_sides_end(tmp_path: Path, turn: int) -> None:
    with Wrapped(tmp_path).opened() as wrapped:
        ids = [wrapped.request("do/echo", text="x" * 100 * turn) for _ in range(50)]
        ids.append(wrapped.request("do/exit", number=0))
        ids += [wrapped.request("tools/call", name="echo", arguments={}) for _ in range(50)]
        wrapped.hang_up()
        answers = [answer["id"] for answer in wrapped.frames_to_the_end()]
        assert sorted(answers, key=int) == ids  # type: ignore[arg-type]
        assert wrapped.code() == 0


def test_a_stderr_that_is_closed_is_survived(tmp_path: Path) -> None:
    # The number must not go to a pipe of ours, or what is meant for a person becomes a frame.
    closing = ("sh", "-c", 'exec "$@" 2>&-', "sh", *PIPEGUARD)
    with Wrapped(tmp_path, "say=a word", pipeguard=closing).opened() as wrapped:
        wrapped.end_silently()


def test_stderr_that_nobody_reads_does_not_hold_frames_or_the_end(tmp_path: Path) -> None:
    read_end, write_end = os.pipe()
    fill(write_end)
    try:
        redirect = f'exec "$@" 2>/proc/{os.getpid()}/fd/{write_end}'
        with Wrapped(
            tmp_path, pipeguard=("sh", "-c", redirect, "sh", *PIPEGUARD)
        ).opened() as wrapped:
            for _ in range(20):
                assert "result" in wrapped.ask("do/raw", text="a banner that is no frame\n")
            wrapped.ask("do/say", text="a word that is never written\n")
            wrapped.hang_up()
            assert wrapped.process.wait(PATIENCE_SECONDS) == 0
    finally:
        os.close(read_end)
        os.close(write_end)
