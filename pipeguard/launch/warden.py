"""The warden: a small process between PipeGuard and a server that outlives both.

It starts the server, reports how it ended, and makes sure that no process of the server stays
behind, even when PipeGuard is killed by SIGKILL. On Linux it is the subreaper of every process that
the server starts (prctl(2), PR_SET_CHILD_SUBREAPER), so that a grandchild that forked twice and
made a session of its own becomes the warden's child and is found; elsewhere it ends the server's
process group, and a grandchild that left the group can escape.

It runs in a fork of PipeGuard and never returns. It has none of PipeGuard's descriptors: otherwise
a client would wait for the end of a pipe that PipeGuard has long closed.
"""

from __future__ import annotations

import os
import select
import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from time import monotonic

from pipeguard.launch.command import Command, Lifeline
from pipeguard.launch.environment import find_parent

assert sys.platform != "win32"  # noqa: S101  tells mypy which system's names to look up

ABANDONED_SECONDS = 1.0  # grace after PipeGuard died: the server has read its end of file
STARTING_SECONDS = 0.2  # the same at least, for a server that has nothing to finish yet
LINGER_SECONDS = 0.5  # for the server's children to finish, after the server exited
TERM_SECONDS = 0.5  # at least, after SIGTERM: a process that saves its work needs a moment
KILL_SECONDS = 5.0  # a process that survives SIGKILL longer hangs in the kernel, or is not ours
HAS_PROC = sys.platform.startswith("linux") and os.path.isdir("/proc/self")
PR_SET_PDEATHSIG, PR_SET_NAME, PR_SET_CHILD_SUBREAPER = 1, 15, 36  # linux/prctl.h


def run_warden(command: Command, stdio: tuple[int, int, int], life: int, status: int) -> None:
    """Run a server and guard it until all its processes are gone.

    Args:
        command: the server's command.
        stdio: the server's ends of its three pipes.
        life: carries PipeGuard's request for the end; end of file means that PipeGuard is dead.
        status: takes the reports.
    """
    warden = None
    confinement = command.confinement
    try:
        os.setsid()
        # Made before anything is closed: libuv, which listeners use, opens a pipe in each fork and
        # closes it in the next one by its number alone, which would now be another's (signal.c).
        failure = os.pipe()
        inside = confinement.descriptors if confinement else ()
        close_all_but((*stdio, life, status, *failure, *inside))
        warden = Warden(life, status, _load_prctl())
        if warden.start(command, stdio, failure):
            warden.watch()
            warden.end()
    finally:  # after an exception too: better no server than one without a warden
        if warden is not None:
            warden.kill_all()
        if confinement and confinement.leave:
            confinement.leave()
        os._exit(0)


class Warden:
    """The state of one server and its descendants, driven by signals and the life pipe."""

    def __init__(self, life: int, status: int, prctl: Callable[[int, int], None]) -> None:
        self._life = life
        self._status = status
        self._prctl = prctl
        self._server = 0
        self._engine = 0
        self._lifeline: Lifeline | None = None
        self._began = monotonic()
        self._exited = False
        self._end_requested = False
        self._deadline: float | None = None
        self._grace_seconds = float("inf")  # the shortest of all requests
        self._poll = select.poll()
        self._poll.register(life, select.POLLIN)
        self._wake = self._take_signals()
        self._poll.register(self._wake, select.POLLIN)

    def start(self, command: Command, stdio: tuple[int, ...], failure: tuple[int, int]) -> bool:
        """Start the server and report it; False if it cannot be run.

        Args:
            command: the server's command.
            stdio: the server's ends of its three pipes.
            failure: a pipe for the reason why it cannot be run.
        """
        self._prctl(PR_SET_CHILD_SUBREAPER, 1)
        failed, fail = failure
        try:
            server = os.fork()
        except OSError as error:
            self._report(b"fork", error.errno or 0)
            return False
        if server == 0:
            _become(command, stdio, fail, self._prctl)
        self._server = server
        if confinement := command.confinement:
            self._engine = server if confinement.is_engine else 0
            stdio = (*stdio, *confinement.descriptors)
            self._lifeline = confinement.lifeline
        kept = -1
        if self._lifeline:
            kept = self._lifeline.descriptor
            self._poll.register(kept, select.POLLIN)
        for descriptor in (*stdio, fail):
            if descriptor != kept:
                os.close(descriptor)
        reason = os.read(failed, 64)  # end of file: exec closed it, the program runs
        os.close(failed)
        if reason:
            _write(self._status, reason)
            os.waitpid(server, 0)
            self._server = 0
            return False
        self._report(b"started", server)
        return True

    def watch(self) -> None:
        """Wait until the server exits, or PipeGuard asks for its end or dies."""
        self._reap()
        while not self._exited and not self._end_requested:
            self._pause(None)
            self._reap()

    def end(self) -> None:
        """Wait, send SIGTERM, wait; the server's standard input is closed already."""
        if self._exited:
            self._hasten(LINGER_SECONDS)
        if self._wait_until_gone():
            return
        self._signal_all(signal.SIGTERM)
        self._deadline = monotonic() + max(self._grace_seconds, TERM_SECONDS)
        self._wait_until_gone()

    def kill_all(self) -> None:
        """Send SIGKILL to the remaining processes until all are gone."""
        self._cut_lifeline()
        give_up = monotonic() + KILL_SECONDS
        while self._reap() and monotonic() < give_up:
            self._signal_all(signal.SIGKILL)
            self._deadline = monotonic() + 0.02  # a process forked now is found next time
            self._wait_until_gone()

    def _wait_until_gone(self) -> bool:
        """Wait until the deadline, which may move closer; True once all processes are gone."""
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
        """Wait for a signal, a request from PipeGuard, or the timeout."""
        for descriptor, _ in self._poll.poll(None if seconds is None else seconds * 1000 + 1):
            data = os.read(descriptor, 4096)
            if self._lifeline and descriptor == self._lifeline.descriptor:
                self._lose(self._lifeline)
            elif descriptor == self._wake:
                if not set(data) <= {signal.SIGCHLD}:
                    self._abandon()  # somebody wants to end us
            elif data:
                self._request_end(float(data.split()[-1]))
            else:
                self._poll.unregister(descriptor)
                self._abandon()

    def _lose(self, lifeline: Lifeline) -> None:
        """End the server at once because a process that it must not run without has ended."""
        self._reap()
        if not self._exited:
            lifeline.note()
            self.kill_all()
        self._cut_lifeline()

    def _cut_lifeline(self) -> None:
        if self._lifeline:
            self._poll.unregister(self._lifeline.descriptor)
            self._lifeline = None

    def _abandon(self) -> None:
        """End the server without a request, within a grace as long as it has run, up to a limit."""
        age = monotonic() - self._began
        self._request_end(min(ABANDONED_SECONDS, max(STARTING_SECONDS, age)))

    def _request_end(self, grace_seconds: float) -> None:
        self._end_requested = True
        self._hasten(grace_seconds)

    def _reap(self) -> bool:
        """Wait for processes that ended and report the server; False once all are gone."""
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
                    self._report(b"killed", os.WTERMSIG(wait_status))
                else:
                    self._report(b"exited", os.WEXITSTATUS(wait_status))

    def _report(self, word: bytes, number: int) -> None:
        _write(self._status, b"%s %d\n" % (word, number))

    def _signal_all(self, number: int) -> None:
        # A group is signalled only if there is no better way: once all its processes have been
        # waited for, its number could belong to another group.
        targets = _descendants() if HAS_PROC else [-self._server]
        if number != signal.SIGKILL and self._engine in targets:
            # The engine ends with its server. Ended first, it would kill the server at once.
            targets.remove(self._engine)
        for target in targets:
            try:
                os.kill(target, number)
            except (ProcessLookupError, PermissionError):
                continue  # it has ended, or runs as another user (sudo)

    def _take_signals(self) -> int:
        """Turn relevant signals into bytes on a pipe, and ignore the others."""
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD):
            signal.signal(number, lambda *_: None)  # the wake-up descriptor has it already
        for number in (signal.SIGPIPE, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2):
            signal.signal(number, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        wake, bell = os.pipe()
        os.set_blocking(bell, False)
        signal.set_wakeup_fd(bell, warn_on_full_buffer=False)
        return wake


def _become(
    command: Command, stdio: tuple[int, ...], fail: int, prctl: Callable[[int, int], None]
) -> None:
    """Turn the new process into the server, or report why that failed."""
    stage = last_stage = b"exec"
    argv: Sequence[str] = command.argv
    last = signal.SIGKILL
    try:
        os.setpgid(0, 0)
        warden = os.getppid()
        if confinement := command.confinement:
            stage = b"isolate"
            argv = confinement.argv
            last = signal.SIGTERM if confinement.is_patient else last
            for descriptor in confinement.descriptors:
                os.set_inheritable(descriptor, True)  # noqa: FBT003  positional only
            confinement.enter()  # before prctl, because new rights undo it
            stage = last_stage = b"isolate" if confinement.is_engine else b"exec"
        prctl(PR_SET_PDEATHSIG, last)
        if os.getppid() != warden:
            os._exit(1)  # the warden died before prctl took effect
        for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
            with suppress(OSError):  # the C library reserves some real-time signals
                signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        for target, source in enumerate(stdio):
            os.dup2(source, target)
        if command.cwd is not None:
            stage = b"cwd"
            os.chdir(command.cwd)
            stage = last_stage
        os.execvpe(argv[0], [*argv], command.env)  # noqa: S606  no shell is wanted
    except OSError as error:
        _write(fail, b"%s %d\n" % (stage, error.errno or 0))
    finally:
        os._exit(1)


def outlive_run(descriptors: tuple[int, ...]) -> None:
    """Make a fork of this process live until it ends itself, with these descriptors only."""
    os.setsid()
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    close_all_but(descriptors)


def close_all_but(descriptors: tuple[int, ...]) -> None:
    """Close every other descriptor; 0, 1 and 2 become /dev/null."""
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in range(3):
        os.dup2(null, descriptor, inheritable=False)
    remaining = sorted({0, 1, 2, *descriptors})
    for before, after in zip(remaining, [*remaining[1:], _highest() + 1], strict=True):
        os.closerange(before + 1, after)


def _highest() -> int:
    """An upper bound of this process's descriptors."""
    with suppress(FileNotFoundError):  # a Linux without /proc
        return max(int(name) for name in os.listdir("/dev/fd"))
    return 4096


def _load_prctl() -> Callable[[int, int], None]:
    """prctl(2), or nothing on systems without it: there only the server's group can be ended."""
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
    """All processes below this one."""
    children: dict[int, list[int]] = {}
    for name in filter(str.isdigit, os.listdir("/proc")):
        children.setdefault(find_parent(int(name)), []).append(int(name))
    descendants = []
    generation = [os.getpid()]
    while generation:
        generation = [child for parent in generation for child in children.get(parent, ())]
        descendants.extend(generation)
    return descendants


def _group_lives(group: int) -> bool:
    """True if a process of the group is alive; zombies do not count (macOS says EPERM)."""
    if not group:
        return False
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(group, 0)
        return True
    return False


def _write(descriptor: int, data: bytes) -> None:
    with suppress(BrokenPipeError):  # PipeGuard is dead; the life pipe says so too
        os.write(descriptor, data)
