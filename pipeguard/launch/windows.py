"""A server's process on Windows: in a job object that kills all of it when its last handle closes.

Written from Microsoft's documentation. Our suite does not run on Windows, so this module is left
out of coverage. The job object does what the warden does on POSIX: the kernel closes our handles
however we die, and JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE then ends every process of the job (Win32,
winnt.h, JOBOBJECT_BASIC_LIMIT_INFORMATION).
"""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import subprocess
import sys
from _thread import allocate_lock
from ctypes import wintypes
from time import monotonic

from pipeguard.errors import LaunchError
from pipeguard.launch.command import NOT_FOUND, NOT_RUNNABLE, Command, Exit
from pipeguard.transports.descriptors import shut_writing, take_standard

assert sys.platform == "win32"  # noqa: S101  tells mypy which system's names to look up

CREATE_SUSPENDED = 0x4
EXTENDED_LIMIT_INFORMATION = 9  # JobObjectExtendedLimitInformation
KILL_ON_JOB_CLOSE = 0x2000
KILL_SECONDS = 5.0


class _BasicLimits(ctypes.Structure):
    _fields_ = (
        ("PerProcessUserTimeLimit", ctypes.c_int64),
        ("PerJobUserTimeLimit", ctypes.c_int64),
        ("LimitFlags", wintypes.DWORD),
        ("MinimumWorkingSetSize", ctypes.c_size_t),
        ("MaximumWorkingSetSize", ctypes.c_size_t),
        ("ActiveProcessLimit", wintypes.DWORD),
        ("Affinity", ctypes.c_size_t),
        ("PriorityClass", wintypes.DWORD),
        ("SchedulingClass", wintypes.DWORD),
    )


class _ExtendedLimits(ctypes.Structure):
    _fields_ = (
        ("BasicLimitInformation", _BasicLimits),
        ("IoInfo", ctypes.c_uint64 * 6),
        ("ProcessMemoryLimit", ctypes.c_size_t),
        ("JobMemoryLimit", ctypes.c_size_t),
        ("PeakProcessMemoryUsed", ctypes.c_size_t),
        ("PeakJobMemoryUsed", ctypes.c_size_t),
    )


class Child:
    """A server in a job; the same methods as on POSIX (launch.posix)."""

    def __init__(self, process: subprocess.Popen[bytes], job: int) -> None:
        if process.stdin is None or process.stdout is None or process.stderr is None:
            raise AssertionError("all three are pipes")
        self.stdin_fd = process.stdin.fileno()
        self.stdout_fd = process.stdout.fileno()
        self.stderr_fd = process.stderr.fileno()
        self._process = process
        self._job = job
        self._lock = allocate_lock()

    def wait_started(self) -> None:
        """Return at once: `start` has waited already."""

    def wait(self, timeout_seconds: float | None = None) -> Exit | None:
        """Wait for the server's end; None if it still runs after the timeout."""
        try:
            return Exit(self._process.wait(timeout_seconds))
        except subprocess.TimeoutExpired:
            return None

    def end(self, grace_seconds: float) -> Exit:
        """Close the server's standard input, wait, send Ctrl-Break, wait, kill the whole job."""
        shut_writing(self.stdin_fd)
        deadline = monotonic() + 2 * grace_seconds
        if self.wait(grace_seconds) is None:
            try:
                self._process.send_signal(signal.CTRL_BREAK_EVENT)
            except OSError:
                deadline = 0.0  # the two share no console, as under a graphical client
            self.wait(max(0.0, deadline - monotonic()))
        ctypes.windll.kernel32.TerminateJobObject(wintypes.HANDLE(self._job), NOT_RUNNABLE)
        return self.wait(KILL_SECONDS) or Exit.by_signal(9)

    def close(self) -> None:
        """Kill the server if it still runs, and close all handles."""
        with self._lock:
            if not self._job:
                return
            self.end(0)
            ctypes.windll.kernel32.CloseHandle(wintypes.HANDLE(self._job))
            self._job = 0
            for stream in (self._process.stdin, self._process.stdout, self._process.stderr):
                if stream:
                    stream.close()


def start(command: Command) -> Child:
    """Start a server, suspended until it is in its job, so that none of its children can escape.

    Raises:
        LaunchError: it cannot run; the exit code is the shell's.
    """
    take_standard()
    program = command.argv[0]
    if command.cwd is not None and not os.path.isdir(command.cwd):
        raise LaunchError(f"{command.cwd}: cannot start a server here: no such directory.")
    # CreateProcess finds only .exe; npx, npm and yarn are .cmd files, found through PATHEXT.
    path = shutil.which(program, path=command.env.get("PATH"))
    if path is None and os.path.dirname(program):
        raise LaunchError(f"{program}: there is no such file, or it is not a program.", NOT_FOUND)
    if path is None:
        raise LaunchError(
            f"{program}: command not found in the server's PATH.",
            NOT_FOUND,
            f"The PATH is {command.env.get('PATH', '')}",
        )
    job = _make_job()
    try:
        process = subprocess.Popen(
            _command_line(path, command),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            cwd=command.cwd,
            env=command.env,
            creationflags=CREATE_SUSPENDED | subprocess.CREATE_NEW_PROCESS_GROUP,
        )
    except OSError as error:
        raise LaunchError(f"{path}: cannot be run: {error.strerror}.", NOT_RUNNABLE) from error
    handle = wintypes.HANDLE(int(process._handle))  # type: ignore[attr-defined]
    if not ctypes.windll.kernel32.AssignProcessToJobObject(wintypes.HANDLE(job), handle):
        process.kill()
        raise LaunchError(f"{path}: cannot be confined: {ctypes.FormatError()}", NOT_RUNNABLE)
    ctypes.windll.ntdll.NtResumeProcess(handle)
    return Child(process, job)


def _make_job() -> int:
    kernel = ctypes.windll.kernel32
    kernel.CreateJobObjectW.restype = wintypes.HANDLE
    job: int | None = kernel.CreateJobObjectW(None, None)
    limits = _ExtendedLimits()
    limits.BasicLimitInformation.LimitFlags = KILL_ON_JOB_CLOSE
    if not job or not kernel.SetInformationJobObject(
        wintypes.HANDLE(job),
        EXTENDED_LIMIT_INFORMATION,
        ctypes.byref(limits),
        ctypes.sizeof(limits),
    ):
        raise LaunchError(f"cannot confine a server: {ctypes.FormatError()}", NOT_RUNNABLE)
    return job


def _command_line(path: str, command: Command) -> str | list[str]:
    """The command for CreateProcess; a batch file goes through cmd.exe with its own quoting.

    Inside double quotes cmd.exe reads everything but the quote, % and line ends as text. An
    argument with one of these cannot be passed safely (CVE-2024-24576), so it is refused.
    """
    words = [path, *command.argv[1:]]
    if not path.lower().endswith((".cmd", ".bat")):
        return words
    if any(set(word) & set('"%\r\n') for word in words):
        raise LaunchError(
            f"{path}: a batch file cannot safely get an argument with a quote, % or line end. "
            "Start the program behind it instead, as: node script.js",
            NOT_RUNNABLE,
        )
    shell = command.env.get("COMSPEC", "cmd.exe")
    quoted = " ".join(f'"{word}"' for word in words)
    return f'"{shell}" /d /s /c "{quoted}"'
