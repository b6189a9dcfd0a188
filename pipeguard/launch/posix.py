"""A server's process on POSIX, as PipeGuard sees it: its pipes, its exit, its end.

PipeGuard does not start the server itself. It forks a warden (launch.warden) that does, and that
lives on if PipeGuard is killed, so that no process of the server is left behind. They share two
pipes: the life pipe carries our requests, and its end means that we died; the status pipe carries
the warden's reports, and its end means that no process is left.
"""

from __future__ import annotations

import errno
import os
import select
import signal
import sys
from _thread import allocate_lock
from collections.abc import Callable
from contextlib import suppress
from time import monotonic

from pipeguard.errors import LaunchError
from pipeguard.launch.command import NOT_FOUND, NOT_RUNNABLE, Command, Exit
from pipeguard.transports.descriptors import shut_writing, take_standard, widen

assert sys.platform != "win32"  # noqa: S101  tells mypy which system's names to look up

# The kernel's refusals of namespaces: other failures have other reasons.
_FORBIDDEN = {errno.EPERM, errno.EACCES, errno.ENOSPC, errno.EUSERS, errno.EINVAL}
_MOVED = (
    "a file or folder that it is given, or one in it, was put there, moved, or became a link while"
    " the server was started. Start it again"
)
WARDEN_SECONDS = 10.0  # how long the warden may take for its own last steps before we kill it


class Child:
    """A server that is starting, running or ended. Its methods may be called from any thread.

    The three descriptors are pipes and belong to the child: only `end` and `close` close them.

    Attributes:
        stdin_fd: our end of the server's standard input.
        stdout_fd: our end of its standard output.
        stderr_fd: our end of its standard error.
        on_close: called once, when the child is closed.
    """

    def __init__(
        self, command: Command, warden: int, pipes: tuple[int, int, int], life: int, status: int
    ) -> None:
        self.stdin_fd, self.stdout_fd, self.stderr_fd = pipes
        self._command = command
        self._warden = warden
        self._life = life
        self._status = status
        self._lock = allocate_lock()  # held by the one thread that waits on the status pipe
        self._reports = b""
        self._server = 0
        self._failure: LaunchError | None = None
        self._exit: Exit | None = None
        self._gone = False
        self._closed = False
        self.on_close: Callable[[], None] | None = None

    def wait_started(self) -> None:
        """Wait until the server's program runs.

        Raises:
            LaunchError: it cannot run; the message is for the user, the exit code is the shell's.
        """
        with self._lock:
            while not self._server and self._failure is None and not self._gone:
                self._read_reports(None)
        if self._failure:
            self._wait_until(WARDEN_SECONDS, gone=True)
            raise self._failure
        if not self._server:
            raise LaunchError(f"{self._command.argv[0]}: its warden died before it was started.")

    def wait(self, timeout_seconds: float | None = None) -> Exit | None:
        """Wait for the server's end; None if it still runs after the timeout."""
        self._wait_until(timeout_seconds, gone=False)
        return self._exit

    def end(self, grace_seconds: float) -> Exit:
        """End the server and every process that it started; return how the server ended.

        Standard input is closed. Processes left after the grace period are sent SIGTERM and, after
        the same period again (at least half a second), SIGKILL (MCP 2025-06-18, basic/lifecycle,
        shutdown over stdio). A second call, also from another thread, can only shorten the period.
        """
        if not self._gone:
            with suppress(OSError):  # no descriptor is free: it ends nevertheless
                shut_writing(self.stdin_fd)
            with suppress(BrokenPipeError):  # the warden has ended
                os.write(self._life, b"end %.3f\n" % grace_seconds)
            self._wait_until(2 * grace_seconds + WARDEN_SECONDS, gone=True)
        if not self._gone:
            _kill(self._warden)  # the kernel then kills the server: PR_SET_PDEATHSIG
            self._wait_until(WARDEN_SECONDS, gone=True)
        return self._exit or Exit.by_signal(signal.SIGKILL)

    def close(self) -> None:
        """Kill the server if it still runs, and close all descriptors.

        To be called only when no other thread uses the child.
        """
        if self._closed:
            return
        self.end(0)
        self._closed = True
        pipes = self.stdin_fd, self.stdout_fd, self.stderr_fd
        for descriptor in (*pipes, self._life, self._status):
            os.close(descriptor)
        if self.on_close:
            self.on_close()

    def _wait_until(self, timeout_seconds: float | None, *, gone: bool) -> None:
        deadline = None if timeout_seconds is None else monotonic() + timeout_seconds
        if not self._lock.acquire(timeout=-1 if timeout_seconds is None else timeout_seconds):
            return
        try:
            while not self._gone and (gone or self._exit is None):
                left = None if deadline is None else max(0.0, deadline - monotonic())
                if not self._read_reports(left):
                    return
        finally:
            self._lock.release()

    def _read_reports(self, timeout_seconds: float | None) -> bool:
        """Read the warden's reports; False if none arrives in that time."""
        poll = select.poll()
        poll.register(self._status, select.POLLIN)
        if not poll.poll(None if timeout_seconds is None else timeout_seconds * 1000):
            return False
        data = os.read(self._status, 4096)
        if not data:
            self._bury_warden()
            return True
        *lines, self._reports = (self._reports + data).split(b"\n")
        for line in lines:
            word, *numbers = line.split(b" ")
            self._take_report(word, [int(number) for number in numbers])
        return True

    def _take_report(self, word: bytes, numbers: list[int]) -> None:
        if word == b"started":
            self._server = numbers[0]
        elif word == b"exited":
            self._exit = Exit(numbers[0])
        elif word == b"killed":
            self._exit = Exit.by_signal(numbers[0])
        else:
            self._failure = _explain(self._command, word, numbers[0])
            self._exit = Exit(self._failure.exit_code)

    def _bury_warden(self) -> None:
        self._gone = True
        if self._server and self._exit is None:
            # The warden was killed. The kernel kills the server; we kill the rest of its group.
            confinement = self._command.confinement
            if confinement is None or not confinement.is_patient:
                _kill(-self._server)
            self._exit = Exit.by_signal(signal.SIGKILL)
        with suppress(ChildProcessError):  # we were started with SIGCHLD ignored
            os.waitpid(self._warden, 0)


def start(command: Command) -> Child:
    """Start a server; return at once, before it is known whether it can run.

    It forks. If this process has other threads, the modules that the fork needs are imported first:
    a module's lock that another thread holds while it imports it would stay locked in the fork.

    Raises:
        LaunchError: the system has no descriptors or processes left.
    """
    threading = sys.modules.get("threading")  # if it is not imported, there are no other threads
    if threading and threading.active_count() > 1:
        for name in ("ctypes", "pipeguard.launch.warden"):
            with suppress(ImportError):
                __import__(name)
    pipes: list[int] = []
    try:
        take_standard()
        for _ in range(5):
            pipes.extend(os.pipe())
        warden = os.fork()
    except OSError as error:
        for descriptor in pipes:
            os.close(descriptor)
        raise LaunchError(f"{command.argv[0]}: cannot be started: {error.strerror}.") from error
    stdin_r, stdin_w, stdout_r, stdout_w, stderr_r, stderr_w, life_r, life_w, status_r, status_w = (
        pipes
    )
    if warden == 0:
        from pipeguard.launch.warden import run_warden

        run_warden(command, (stdin_r, stdout_w, stderr_w), life_r, status_w)
    for descriptor in (stdin_r, stdout_w, stderr_w, life_r, status_w):
        os.close(descriptor)
    widen(stdin_w)
    widen(stdout_r)
    return Child(command, warden, (stdin_w, stdout_r, stderr_r), life_w, status_r)


def _kill(target: int) -> None:
    # It is gone, or (macOS) only zombies are left in the group.
    with suppress(ProcessLookupError, PermissionError):
        os.kill(target, signal.SIGKILL)


def _explain(command: Command, stage: bytes, number: int) -> LaunchError:
    """Explain why the server did not start, in one line for the user."""
    program = command.argv[0]
    reason = os.strerror(number)
    if stage == b"cwd":
        return LaunchError(f"{command.cwd}: cannot start a server in this directory: {reason}.")
    if stage == b"fork":
        return LaunchError(f"{program}: cannot be started: {reason}.")
    if stage == b"isolate":
        why_not = command.confinement.why_not if command.confinement else None
        obstacle = why_not() if why_not and number in _FORBIDDEN else None
        reason = f"{obstacle} ({reason})" if obstacle else reason
        reason = _MOVED if number == errno.ESTALE else reason
        return LaunchError(f"{program}: cannot be isolated here: {reason}.", NOT_RUNNABLE)
    path = _find_program(command)
    if path is None and number in (errno.ENOENT, errno.ENOTDIR):
        if "/" in program:
            return LaunchError(f"{program}: there is no such file.", NOT_FOUND)
        where = f"The PATH is {command.env.get('PATH', os.defpath)}"
        why = "command not found in the server's PATH"
        return LaunchError(f"{program}: {why}.", NOT_FOUND, where)
    return LaunchError(f"{path or program}: cannot be run: {reason}.", NOT_RUNNABLE)


def _find_program(command: Command) -> str | None:
    """The file that the program's name refers to, runnable or not."""
    program = command.argv[0]
    base = command.cwd or "."
    folders = [""] if "/" in program else os.get_exec_path(command.env)
    for folder in folders:
        path = os.path.join(base, folder, program)
        if os.path.lexists(path):
            return path if folder else program
    return None
