"""A server is started, seen and ended: launch/posix.py, warden.py, command.py."""

import json
import os
import resource
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from time import monotonic

import pytest

from pipeguard.errors import LaunchError
from pipeguard.launch import posix
from pipeguard.launch.child import Child, Command, Exit, start
from tests.each import each
from tests.files import write_program
from tests.launch.processes import (
    PATIENCE_SECONDS,
    is_running,
    launch,
    none_is_left,
    python,
    read_all,
    read_line,
    until,
)

REPOSITORY = Path(__file__).parents[2]
ECHO = "import sys\nfor line in sys.stdin: print(line, end='', flush=True)"
# Prints its process number, then does as it is told by the rest of the source.
SAYS_ITS_NUMBER = "import os, sys, signal\nprint(os.getpid(), flush=True)\n"
SLEEPS = SAYS_ITS_NUMBER + "signal.pause()"
STUBBORN = "import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + SLEEPS
# Forks twice, leaves the session and the group, ignores SIGTERM, keeps all pipes open.
ESCAPES = """
import os, signal, sys
signal.signal(signal.SIGTERM, signal.SIG_IGN)
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        print(os.getpid(), flush=True)
        signal.pause()
    os._exit(0)
os.wait()
"""
# An innocent client's view of PipeGuard: starts the server of its first argument, then waits.
GUARDIAN = f"""
import json, os, sys
sys.path.insert(0, {str(REPOSITORY)!r})
from pipeguard.launch.child import Command, start
child = start(Command(json.loads(sys.argv[1]), dict(os.environ)))
child.wait_started()
os.write(1, b"%d\\n" % child._warden)
while data := os.read(child.stdout_fd, 4096):
    os.write(1, data)
os.read(0, 1)
os._exit(child.end(1.0).code)
"""


@contextmanager
def running(argv: list[str], **env: str) -> Iterator[Child]:
    child = launch(argv, **env)
    try:
        yield child
    finally:
        child.close()


def refused(argv: list[str], cwd: str | None = None, path: str = "/usr/bin:/bin") -> LaunchError:
    child = start(Command(argv, {"PATH": path}, cwd))
    try:
        with pytest.raises(LaunchError) as caught:
            child.wait_started()
    finally:
        child.close()
    return caught.value


def test_a_server_reads_writes_and_exits_at_end_of_file() -> None:
    with running(python(ECHO)) as child:
        os.write(child.stdin_fd, b"hello\n")
        assert read_line(child.stdout_fd) == b"hello"
        assert child.wait(0) is None
        assert child.end(PATIENCE_SECONDS) == Exit(0)


@pytest.mark.parametrize("code", [0, 255])
def test_the_exit_code_of_the_server_is_told(code: int) -> None:
    with running(python(f"raise SystemExit({code})")) as child:
        assert child.wait(PATIENCE_SECONDS) == Exit(code)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV])
def test_a_signal_gives_128_and_its_number(number: signal.Signals) -> None:
    with running(python(f"import os; os.kill(os.getpid(), {int(number)})")) as child:
        ended = child.wait(PATIENCE_SECONDS)
        assert ended is not None
        assert ended.code == 128 + number
        assert str(ended) == f"was killed by {number.name}"
    assert str(Exit(3)) == "exited with code 3"
    assert str(Exit.by_signal(signal.SIGRTMIN + 1)).startswith("was killed by signal 3")


def test_what_a_dying_server_wrote_can_be_read_after_its_end() -> None:
    source = "import os; os.write(1, b'half a fra'); os.write(2, b'boom'); os.abort()"
    with running(python(source)) as child:
        assert child.wait(PATIENCE_SECONDS) == Exit.by_signal(signal.SIGABRT)
        assert read_all(child.stdout_fd) == b"half a fra"
        assert read_all(child.stderr_fd) == b"boom"


def test_a_missing_command_names_the_path_that_was_searched(tmp_path: Path) -> None:
    error = refused(["no-such-server"], path=f"{tmp_path}:/nowhere")
    assert error.exit_code == 127
    assert "no-such-server: command not found" in str(error)
    assert "/nowhere" not in str(error), "agents are told this"
    assert f"{tmp_path}:/nowhere" in error.for_user()
    assert "\n" not in error.for_user()


def test_a_missing_file_is_told_on_a_fast_event_loop_as_well() -> None:
    """libuv closes descriptors in each fork, only by their numbers."""
    script = """if True:
        import asyncio, uvloop
        from pipeguard.errors import LaunchError
        from pipeguard.launch.child import Command, start

        async def main():
            child = start(Command(("/no/such/server",), {}, None))
            try:
                child.wait_started()
            except LaunchError as error:
                print(error.exit_code, "no such file" in str(error))

        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(main())
    """
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)
    assert done.stdout.split() == [b"127", b"True"]


@each(
    "content, mode, program, code, why",
    {
        "no file": (None, 0, "{here}/server", 127, "no such file"),
        "no right to run": ("#!/bin/sh\n", 0o644, "{here}/server", 126, "Permission denied"),
        "no interpreter": ("#!/no/such/interpreter\n", 0o755, "server", 126, "No such file"),
        "no program": ("nothing to run", 0o755, "server", 126, "Exec format"),
        "a directory": (None, 0, "{here}", 126, "Permission denied"),
    },
)
def test_what_cannot_be_run_has_the_code_of_a_shell(
    content: str | None, mode: int, program: str, code: int, why: str, tmp_path: Path
) -> None:
    script = tmp_path / "server"
    script.unlink(missing_ok=True)
    if content is not None:
        script.write_text(content)
        script.chmod(mode)
    error = refused([program.format(here=tmp_path)], path=str(tmp_path))
    assert error.exit_code == code
    assert why.format(here=tmp_path) in str(error)


def test_a_missing_working_directory_is_named(tmp_path: Path) -> None:
    error = refused(["true"], cwd=f"{tmp_path}/missing")
    assert error.exit_code == 126
    assert f"{tmp_path}/missing" in str(error)


@pytest.mark.parametrize("argv", [[], [""], ["a\0b"]])
def test_a_command_that_no_system_can_run_is_refused_at_once(argv: list[str]) -> None:
    with pytest.raises(LaunchError):
        Command(argv, {})


def test_a_command_shows_neither_arguments_nor_environment() -> None:
    assert "hidden" not in repr(Command(["server", "hidden"], {"KEY": "hidden"}))


def test_the_path_of_the_server_is_searched_and_not_ours(tmp_path: Path) -> None:
    write_program(tmp_path / "only-here", "#!/bin/sh\necho found\n")
    with running(["only-here"], PATH=f"{tmp_path}:{os.environ['PATH']}") as child:
        assert read_line(child.stdout_fd) == b"found"


def test_the_server_gets_its_directory_and_nothing_but_its_environment(tmp_path: Path) -> None:
    source = "import os, json; print(json.dumps([os.getcwd(), dict(os.environ)]))"
    child = start(Command(python(source), {"ONE": "1", "LC_ALL": "C.UTF-8"}, str(tmp_path)))
    child.wait_started()
    directory, environment = json.loads(read_line(child.stdout_fd))
    child.close()
    assert directory == str(tmp_path)
    assert environment == {"ONE": "1", "LC_ALL": "C.UTF-8"}


def test_the_server_inherits_no_descriptor_and_no_disposition() -> None:
    source = (
        "import os, signal, json\n"
        "ignored = [int(n) for n in signal.valid_signals() - {9, 19, *range(32, 65)}"
        " if signal.getsignal(n) == signal.SIG_IGN]\n"
        "blocked = [int(n) for n in signal.pthread_sigmask(signal.SIG_BLOCK, ())]\n"
        "print(json.dumps([sorted(os.listdir('/proc/self/fd')), ignored, blocked,"
        " os.getpid() == os.getpgid(0), os.getsid(0) != os.getpid()]))"
    )
    leak = os.open(os.devnull, os.O_RDONLY)
    os.set_inheritable(leak, True)
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR2})
    try:
        child = launch(python(source))
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGUSR2})
        signal.signal(signal.SIGUSR1, signal.SIG_DFL)
        os.close(leak)
    descriptors, ignored, blocked, leads_group, has_session = json.loads(read_line(child.stdout_fd))
    child.close()
    assert descriptors == ["0", "1", "2", "3"]  # the fourth reads the list
    assert ignored == [signal.SIGPIPE, signal.SIGXFSZ]  # Python's own doing
    assert blocked == []
    assert leads_group
    assert has_session


def test_a_server_that_ignores_end_of_file_is_sent_sigterm() -> None:
    with running(python(SLEEPS)) as child:
        process = int(read_line(child.stdout_fd))
        assert child.end(0.1) == Exit.by_signal(signal.SIGTERM)
        assert not is_running(process)


def test_a_server_that_ignores_sigterm_is_killed_after_two_graces() -> None:
    with running(python(STUBBORN)) as child:
        process = int(read_line(child.stdout_fd))
        began = monotonic()
        assert child.end(0.6) == Exit.by_signal(signal.SIGKILL)
        assert monotonic() - began >= 1.2
        assert not is_running(process)


def test_a_server_may_answer_sigterm_with_an_exit_code_of_its_own() -> None:
    source = (
        "import signal, os, sys\n"
        "signal.signal(signal.SIGTERM, lambda *_: sys.exit(7))\nprint(flush=True)\n"
        "signal.pause()"
    )
    for grace_seconds in (0.1, 0):
        with running(python(source)) as child:
            read_line(child.stdout_fd)
            assert child.end(grace_seconds) == Exit(7)


def test_a_stopped_server_is_ended_too() -> None:
    with running(python(SLEEPS)) as child:
        os.kill(int(read_line(child.stdout_fd)), signal.SIGSTOP)
        assert child.end(0.05) == Exit.by_signal(signal.SIGKILL)


def test_a_second_call_from_another_thread_shortens_the_grace() -> None:
    with running(python(SLEEPS)) as child:
        read_line(child.stdout_fd)
        first = threading.Thread(target=child.end, args=(3600.0,), daemon=True)
        first.start()
        until(child._lock.locked, "the first call waits")
        assert child.end(0.05).signal_number == signal.SIGTERM
        first.join(PATIENCE_SECONDS)
        assert not first.is_alive()


def test_a_thread_that_waits_for_the_exit_does_not_keep_another_from_ending_it() -> None:
    with running(python(ECHO)) as child:
        seen: list[Exit | None] = []
        waiter = threading.Thread(target=lambda: seen.append(child.wait()), daemon=True)
        waiter.start()
        until(child._lock.locked, "the thread waits")
        assert child.wait(0.01) is None
        assert child.end(PATIENCE_SECONDS) == Exit(0)
        waiter.join(PATIENCE_SECONDS)
        assert seen == [Exit(0)]


def test_a_chain_of_shells_is_ended_with_all_its_links() -> None:
    inner = f"{sys.executable} -I -c '{SLEEPS}'; true"
    with running(["sh", "-c", 'echo $$; sh -c "$0"; true', f"echo $$; {inner}"]) as child:
        processes = [int(read_line(child.stdout_fd)) for _ in range(3)]
        assert len(set(processes)) == 3
        child.end(0.1)
        assert not any(map(is_running, processes))


def test_a_grandchild_that_left_session_and_group_is_ended() -> None:
    with running(python(ESCAPES + "sys.stdin.read()")) as child:
        process = int(read_line(child.stdout_fd))
        assert child.end(0.3) == Exit(0)
        assert not is_running(process)
        assert read_all(child.stdout_fd) == b""  # nobody holds the pipe


def test_what_outlives_a_server_that_exits_by_itself_is_ended_after_its_exit_is_told() -> None:
    with running(python(ESCAPES + "sys.exit(5)")) as child:
        process = int(read_line(child.stdout_fd))
        assert child.wait(PATIENCE_SECONDS) == Exit(5)
        assert is_running(process)
        assert read_all(child.stdout_fd) == b""
        none_is_left(process)


def test_writing_to_a_server_that_was_ended_raises_and_kills_nobody() -> None:
    with running(python(ECHO)) as child:
        child.end(PATIENCE_SECONDS)
        with pytest.raises(BrokenPipeError):
            os.write(child.stdin_fd, b"late")


@pytest.mark.parametrize(
    ("source", "number"), [(STUBBORN, signal.SIGKILL), (SLEEPS, signal.SIGTERM)]
)
def test_a_wardens_end_is_the_end_of_its_server(source: str, number: signal.Signals) -> None:
    with running(python(source)) as child:
        process = int(read_line(child.stdout_fd))
        os.kill(child._warden, number)
        assert child.wait(PATIENCE_SECONDS) == Exit.by_signal(number)
        none_is_left(process)


def test_a_warden_that_hangs_is_ended_with_its_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(posix, "WARDEN_SECONDS", 0.2)
    with running(python(STUBBORN)) as child:
        process = int(read_line(child.stdout_fd))
        os.kill(child._warden, signal.SIGSTOP)
        assert child.end(0).code == 128 + signal.SIGKILL
        none_is_left(process)


@pytest.mark.parametrize("left", [0, 5])
def test_without_descriptors_left_nothing_is_started_and_none_is_lost(left: int) -> None:
    before = open_descriptors()
    free = [number for number in range(1000) if str(number) not in before]
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (free[left], hard))
    try:
        with pytest.raises(LaunchError, match="cannot be started"):
            start(Command(["true"], {}))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert open_descriptors() == before


def open_descriptors() -> list[str]:
    """Return their numbers; each list also includes the descriptor that reads it."""
    return sorted(path.name for path in Path("/proc/self/fd").iterdir())


def test_many_starts_leave_neither_descriptors_nor_zombies() -> None:
    before = open_descriptors()
    wardens = []
    for _ in range(5):
        with running(["true"]) as child:
            wardens.append(child._warden)
    assert {*open_descriptors()} <= {*before}  # what an earlier test left may be closed
    assert not any(Path(f"/proc/{warden}").exists() for warden in wardens)


@contextmanager
def guardian(argv: list[str]) -> Iterator[subprocess.Popen[bytes]]:
    """A process that started the server as PipeGuard does, seen by its client."""
    with subprocess.Popen(
        python(GUARDIAN, json.dumps(argv)),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,  # as the official SDKs start a server
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def numbers(process: subprocess.Popen[bytes], count: int) -> list[int]:
    assert process.stdout is not None
    return [int(process.stdout.readline()) for _ in range(count)]


def test_nothing_is_left_of_a_server_when_we_are_killed() -> None:
    """All signals at the same time: a stubborn server takes two seconds to end."""
    signals = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGABRT)
    with ExitStack() as stack:
        ending: dict[signal.Signals, list[int]] = {}
        for number in signals:
            process = stack.enter_context(guardian(python(STUBBORN)))
            ending[number] = numbers(process, 2)
            _warden, server = ending[number]
            assert is_running(server)
            process.send_signal(number)
        for processes in ending.values():
            none_is_left(*processes)


@pytest.mark.parametrize("source", [STUBBORN, ESCAPES + "signal.pause()"])
def test_the_client_sees_our_end_at_once_and_nothing_is_left(source: str) -> None:
    with guardian(python(source)) as process:
        warden, server = numbers(process, 2)
        process.kill()
        assert process.stdout is not None
        assert process.stdout.read() == b""  # end of file, while the warden still works
        assert is_running(warden)
        none_is_left(server, warden)


def test_nothing_is_left_of_a_chain_when_the_whole_group_is_killed() -> None:
    chain = ["sh", "-c", 'echo $$; sh -c "$0"; true', f"echo $$; {sys.executable} -c '{SLEEPS}'; :"]
    with ExitStack() as stack:
        ending: list[list[int]] = []
        for number in (signal.SIGKILL, signal.SIGTERM):
            process = stack.enter_context(guardian(chain))
            ending.append(numbers(process, 4))
            os.killpg(process.pid, number)
        for processes in ending:
            none_is_left(*processes)


def test_a_started_server_costs_no_heavy_import() -> None:
    source = (
        f"import sys; sys.path.insert(0, {str(REPOSITORY)!r}); before = set(sys.modules)\n"
        "import pipeguard.launch.child, pipeguard.launch.environment, pipeguard._isolate\n"
        "print(*sorted(set(sys.modules) - before))"
    )
    done = subprocess.run(python(source), capture_output=True, check=True, text=True)
    loaded = {name for name in done.stdout.split() if not name.startswith("pipeguard")}
    heavy = {"asyncio", "click", "json", "pathlib", "ssl", "subprocess", "tempfile", "yaml"}
    assert not loaded & heavy


def test_a_server_starts_while_another_thread_imports_what_its_fork_needs(tmp_path: Path) -> None:
    (tmp_path / "ctypes.py").write_text("import time; time.sleep(0.5)\nraise ImportError")
    source = (
        f"import os, sys; sys.path[:0] = [{str(tmp_path)!r}, {str(REPOSITORY)!r}]\n"
        "import threading, time\n"
        "from pipeguard.launch.child import Command, start\n"
        "def work():\n"
        "    try: import ctypes\n"
        "    except ImportError: pass\n"
        "threading.Thread(target=work, daemon=True).start()\n"
        "while 'ctypes' not in sys.modules: time.sleep(0.01)\n"
        "child = start(Command(['true'], dict(os.environ)))\n"
        "ended = child.wait(20.0); child.end(0.0); sys.exit(0 if ended else 1)"
    )
    assert subprocess.run(python(source), check=False, timeout=60).returncode == 0


@pytest.mark.needs("bash")  # a shell that closes descriptors
def test_standard_streams_that_the_client_closed_do_no_harm() -> None:
    source = (
        f"import sys, os; sys.path.insert(0, {str(REPOSITORY)!r})\n"
        "from pipeguard.launch.child import Command, start\n"
        "child = start(Command(['cat'], dict(os.environ))); child.wait_started()\n"
        "os.write(child.stdin_fd, b'through'); data = os.read(child.stdout_fd, 7)\n"
        "sys.exit(9 if data == b'through' and child.stdin_fd > 2 else 1)"
    )
    argv = ["bash", "-c", 'exec "$@" <&- >&- 2>&-', "bash", *python(source)]
    assert subprocess.run(argv, check=False).returncode == 9
