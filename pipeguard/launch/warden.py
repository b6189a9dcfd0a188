"""The warden: a small process between PipeGuard and a server, which outlives both.

It starts the server, reports how it ended, and sees to it that nothing the server started stays
behind, also when PipeGuard is killed by SIGKILL. On Linux it is the subreaper of all that the
server starts (prctl(2), PR_SET_CHILD_SUBREAPER), so that a grandchild which forked twice and made
a session of its own becomes the warden's child and is found; elsewhere it ends the server's
process group, and a grandchild that left the group can escape.

It runs in a fork of PipeGuard and never returns from there. It holds none of PipeGuard's
descriptors, or a client would wait for the end of a pipe that PipeGuard has long closed.
"""

# ruff: noqa: PTH112, PTH208
# pathlib costs 5 ms, and the server is not running yet
from __future__ import annotations

import os
import select
import sys
from time import monotonic

from pipeguard.launch.command import Command

TYPE_CHECKING = False  # as typing.TYPE_CHECKING, whose import costs 6 ms
if TYPE_CHECKING:
    import signal
    from collections.abc import Callable
    from typing import NoReturn
else:
    import _signal as signal  # its Python half makes enums, which costs 3 ms

assert sys.platform != "win32"  # noqa: S101  tells mypy which system's names to look up

ABANDONED_SECONDS = 1.0  # PipeGuard died: the server has had its end of file
LINGER_SECONDS = 0.5  # the server exited: what it started may say its last words
TERM_SECONDS = 0.5  # even in a hurry: what answers SIGTERM by saving its work needs a moment
KILL_SECONDS = 5.0  # what survives SIGKILL so long hangs in the kernel, or is not ours to kill
HAS_PROC = sys.platform.startswith("linux") and os.path.isdir("/proc/self")
PR_SET_PDEATHSIG, PR_SET_NAME, PR_SET_CHILD_SUBREAPER = 1, 15, 36  # linux/prctl.h


def keep(command: Command, stdio: tuple[int, int, int], life: int, status: int) -> NoReturn:
    """Be the warden of one server until nothing of it is left.

    Args:
        command: what to run.
        stdio: the server's ends of its three pipes.
        life: where PipeGuard asks for the end; its end of file means that PipeGuard is dead.
        status: where to report.
    """
    warden = None
    try:
        os.setsid()
        _keep_only((*stdio, life, status))
        warden = Warden(life, status, _load_prctl())
        if warden.start(command, stdio):
            warden.watch()
            warden.end()
    finally:  # also if any of it raised: better no server than one without a warden
        if warden is not None:
            warden.kill_all()
        os._exit(0)


class Warden:
    """One server and its descendants, as a state that signals and the life pipe move on."""

    def __init__(self, life: int, status: int, prctl: Callable[[int, int], None]) -> None:
        self._life = life
        self._status = status
        self._prctl = prctl
        self._server = 0
        self._exited = False
        self._asked = False
        self._deadline: float | None = None
        self._grace_seconds = float("inf")  # the shortest that was ever given
        self._poll = select.poll()
        self._poll.register(life, select.POLLIN)
        self._wake = self._take_signals()
        self._poll.register(self._wake, select.POLLIN)

    def start(self, command: Command, stdio: tuple[int, int, int]) -> bool:
        """Start the server and report it; False if it cannot be run."""
        self._prctl(PR_SET_CHILD_SUBREAPER, 1)
        failed, fail = os.pipe()
        try:
            server = os.fork()
        except OSError as error:
            self._report("fork", error.errno or 0)
            return False
        if server == 0:
            _become(command, stdio, fail, self._prctl)
        self._server = server
        for descriptor in (*stdio, fail):
            os.close(descriptor)
        failure = os.read(failed, 64)  # end of file: exec closed it, the program runs
        os.close(failed)
        if failure:
            _write(self._status, failure)
            os.waitpid(server, 0)
            self._server = 0
            return False
        self._report("started", server)
        return True

    def watch(self) -> None:
        """Wait until the server exits, or PipeGuard asks for its end or dies."""
        self._reap()
        while not self._exited and not self._asked:
            self._pause(None)
            self._reap()

    def end(self) -> None:
        """Wait, SIGTERM, wait, SIGKILL; the server's standard input is closed already."""
        if self._exited:
            self._hasten(LINGER_SECONDS)
        if self._wait_until_gone():
            return
        self._signal_all(signal.SIGTERM)
        self._deadline = monotonic() + max(self._grace_seconds, TERM_SECONDS)
        self._wait_until_gone()

    def kill_all(self) -> None:
        """SIGKILL whatever is left, until nothing is."""
        give_up = monotonic() + KILL_SECONDS
        while self._reap() and monotonic() < give_up:
            self._signal_all(signal.SIGKILL)
            self._deadline = monotonic() + 0.02  # what forked meanwhile is found next time
            self._wait_until_gone()

    def _wait_until_gone(self) -> bool:
        """Wait to the deadline, which may come closer meanwhile; True if nothing is left."""
        exited = self._exited
        while self._reap():
            if self._exited and not exited:
                exited = True
                self._hasten(LINGER_SECONDS)
            left = (self._deadline or 0.0) - monotonic()
            if left <= 0:
                return False
            self._pause(left)
        return True

    def _hasten(self, grace_seconds: float) -> None:
        self._grace_seconds = min(self._grace_seconds, grace_seconds)
        deadline = monotonic() + grace_seconds
        self._deadline = deadline if self._deadline is None else min(self._deadline, deadline)

    def _pause(self, seconds: float | None) -> None:
        """Wait for a signal, a word from PipeGuard, or the time."""
        for descriptor, _ in self._poll.poll(None if seconds is None else seconds * 1000 + 1):
            data = os.read(descriptor, 4096)
            if descriptor == self._wake:
                if not set(data) <= {signal.SIGCHLD}:
                    self._ask(ABANDONED_SECONDS)  # somebody wants us ended
            elif data:
                self._ask(float(data.split()[-1]))
            else:
                self._poll.unregister(descriptor)
                self._ask(ABANDONED_SECONDS)

    def _ask(self, grace_seconds: float) -> None:
        self._asked = True
        self._hasten(grace_seconds)

    def _reap(self) -> bool:
        """Bury the dead and report the server; False if nothing is left alive."""
        while True:
            try:
                pid, wait_status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return not HAS_PROC and _group_lives(self._server)
            if pid == 0:
                return True
            if pid == self._server:
                self._exited = True
                if os.WIFSIGNALED(wait_status):
                    self._report("killed", os.WTERMSIG(wait_status))
                else:
                    self._report("exited", os.WEXITSTATUS(wait_status))

    def _report(self, word: str, number: int) -> None:
        _write(self._status, b"%s %d\n" % (word.encode(), number))

    def _signal_all(self, number: int) -> None:
        # A group is signalled only where there is no better way: once all of it is buried, its
        # number could name a stranger's group.
        targets = _descendants() if HAS_PROC else [-self._server]
        for target in targets:
            try:
                os.kill(target, number)
            except (ProcessLookupError, PermissionError):
                continue  # gone meanwhile, or it has another user's rights (sudo)

    def _take_signals(self) -> int:
        """Turn the signals that matter into bytes on a pipe, and ignore the rest."""
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD):
            signal.signal(number, _heard)
        for number in (signal.SIGPIPE, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2):
            signal.signal(number, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        wake, bell = os.pipe()
        os.set_blocking(bell, False)
        signal.set_wakeup_fd(bell, warn_on_full_buffer=False)
        return wake


def _heard(number: int, frame: object) -> None:
    """The wake-up descriptor has it already."""


def _become(
    command: Command, stdio: tuple[int, int, int], fail: int, prctl: Callable[[int, int], None]
) -> NoReturn:
    """In the new process: turn into the server, or say why not."""
    stage = b"exec"
    try:
        os.setpgid(0, 0)
        warden = os.getppid()
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != warden:
            os._exit(1)  # it died before the kernel knew what to do then
        for number in signal.valid_signals():
            if number not in (signal.SIGKILL, signal.SIGSTOP):
                _reset(number)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        for target, source in enumerate(stdio):
            os.dup2(source, target)
        if command.cwd is not None:
            stage = b"cwd"
            os.chdir(command.cwd)
            stage = b"exec"
        os.execvpe(command.argv[0], command.argv, command.env)  # noqa: S606  no shell is wanted
    except OSError as error:
        _write(fail, b"%s %d\n" % (stage, error.errno or 0))
    finally:
        os._exit(1)


def _reset(number: int) -> None:
    try:
        signal.signal(number, signal.SIG_DFL)
    except OSError:
        return  # the C library keeps some real-time signals for itself


def _keep_only(wanted: tuple[int, ...]) -> None:
    """Close every other descriptor; 0, 1 and 2 lead nowhere."""
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in range(3):
        os.dup2(null, descriptor, inheritable=False)
    kept = sorted({0, 1, 2, *wanted})
    for before, after in zip(kept, [*kept[1:], _highest() + 1], strict=True):
        os.closerange(before + 1, after)


def _highest() -> int:
    """No descriptor of this process is above it."""
    try:
        return max(int(name) for name in os.listdir("/dev/fd"))
    except FileNotFoundError:  # a Linux without /proc
        return 4096


def _load_prctl() -> Callable[[int, int], None]:
    """prctl(2) where there is one; without it a server's group is all that can be ended."""
    try:
        import ctypes

        function = ctypes.CDLL(None).prctl
    except (ImportError, OSError, AttributeError):  # no ctypes, or not Linux
        return lambda option, value: None
    number = ctypes.c_ulong
    name = ctypes.create_string_buffer(b"pipeguard-ward")  # at most 15 bytes
    function(PR_SET_NAME, name, number(0), number(0), number(0))

    def prctl(option: int, value: int) -> None:
        function(option, number(value), number(0), number(0), number(0))

    return prctl


def _descendants() -> list[int]:
    """All processes below this one, from /proc/<pid>/stat (proc(5): the fourth field)."""
    children: dict[int, list[int]] = {}
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            with open(f"/proc/{name}/stat", "rb") as file:
                # The second field is a name in brackets which may hold any byte.
                parent = int(file.read().rpartition(b")")[2].split()[1])
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue
        children.setdefault(parent, []).append(int(name))
    found: list[int] = []
    level = [os.getpid()]
    while level:
        level = [child for parent in level for child in children.get(parent, ())]
        found.extend(level)
    return found


def _group_lives(group: int) -> bool:
    """Whether a process of the group is left; zombies count for none (macOS says EPERM)."""
    if not group:
        return False
    try:
        os.killpg(group, 0)
    except (ProcessLookupError, PermissionError):
        return False
    return True


def _write(descriptor: int, data: bytes) -> None:
    try:
        os.write(descriptor, data)
    except BrokenPipeError:
        return  # PipeGuard is dead, which the life pipe says as well
