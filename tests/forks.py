"""Starts a program many times: imports its modules once, then forks for each start.

`python forks.py PROGRAM MODULE...` takes one request a datagram on its standard input, a socket:
what `tests.forking` sends, with the three standard streams and a pipe for the wait status of the
copy. PROGRAM is a script, or the name of a module. In /proc, a copy has the command line and the
environment of a program that was started. It ends with the socket.
"""

import atexit
import ctypes
import fcntl
import gc
import importlib
import json
import os
import runpy
import signal
import socket
import struct
import sys
import termios
import threading
import time
from contextlib import suppress
from typing import Any

MOST_BYTES = 2**18  # of a request
STREAMS = ("stdin", "stdout", "stderr")
PR_SET_MM, PR_SET_MM_MAP = 35, 14  # prctl(2)
LIBC = ctypes.CDLL(None, use_errno=True)
LIBC.sbrk.restype = ctypes.c_void_p


def show_as(command: list[str], environment: dict[str, str]) -> None:
    """Replace the command line and the environment that /proc shows (PR_SET_MM_MAP of prctl(2)).

    Raises:
        OSError: the kernel cannot.
    """
    variables = (f"{name}={value}" for name, value in environment.items())
    words, pairs = (b"".join(os.fsencode(f"{one}\0") for one in all_)
                    for all_ in (command, variables))  # fmt: skip
    shown.append(ctypes.create_string_buffer(words + pairs))
    start = ctypes.addressof(shown[-1])
    with open("/proc/self/stat", encoding="utf-8", errors="replace") as file:
        fields = ["", "", "", *file.read().rpartition(")")[2].split()]  # as proc(5) counts them
    code = (int(fields[number]) for number in (26, 27, 45, 46, 47))
    ends = (start, start + len(words), start + len(words), start + len(words) + len(pairs))
    layout = struct.pack("11QQIi", *code, LIBC.sbrk(0), int(fields[28]), *ends, 0, 0, -1)
    if LIBC.prctl(PR_SET_MM, PR_SET_MM_MAP, layout, len(layout), 0):
        raise OSError(ctypes.get_errno(), "PR_SET_MM_MAP")


def become(
    command: list[str], arguments: list[str], environment: dict[str, str], folder: str,
    streams: list[int], *, session: bool,
) -> None:  # fmt: skip
    """Be the program, in a copy of this process.

    With a session of its own, it takes the terminal of its standard input. It ends as an
    interpreter does, but leaves its modules: to free them takes longer than a run.
    """
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGCHLD})
    for number, (name, descriptor) in enumerate(zip(STREAMS, streams, strict=True)):
        os.dup2(descriptor, number)
        was, mode = getattr(sys, name), "w" if number else "r"
        made = open(number, mode, encoding=was.encoding, errors=was.errors, closefd=False)
        setattr(sys, name, made)
    sys.stderr.reconfigure(line_buffering=True)  # type: ignore[union-attr]  # a TextIOWrapper
    os.closerange(3, 2**16)
    if session:
        os.setsid()
        if os.isatty(0):
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    time.tzset()
    show_as(command, environment)
    sys.argv = [PROGRAM, *arguments]
    code: object = None
    try:
        if PROGRAM.endswith(".py"):
            runpy.run_path(PROGRAM, run_name="__main__")
        else:
            runpy.run_module(PROGRAM, run_name="__main__", alter_sys=True)
    except SystemExit as end:
        code = end.code
    if not isinstance(code, int | None):
        raise SystemExit(code)
    threading._shutdown()  # type: ignore[attr-defined]  # waits for threads
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code or 0)


def report_ended(*_: object) -> None:
    """Write the wait status of each copy that has ended."""
    while statuses:
        child, status = os.waitpid(-1, os.WNOHANG)
        if not child:
            return
        with suppress(BrokenPipeError), open(statuses.pop(child), "wb") as told:
            told.write(b"%d" % status)


def serve(channel: socket.socket) -> None:
    """Fork for each request."""
    while True:
        data, received, _, _ = socket.recv_fds(channel, MOST_BYTES, 4)
        if not data:
            return
        asked: dict[str, Any] = json.loads(data)
        *streams, told = received
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
        child = os.fork()
        if not child:
            become(**asked, streams=streams)
        statuses[child] = told
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGCHLD})
        for descriptor in streams:
            os.close(descriptor)
        channel.send(b"%d" % child)


if __name__ == "__main__":
    PROGRAM, MODULES = sys.argv[1], sys.argv[2:]
    shown: list[Any] = []  # what the kernel reads stays
    statuses: dict[int, int] = {}
    with socket.socket(fileno=os.dup(0)) as requests:
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        show_as(sys.orig_argv, dict(os.environ))
        for name in MODULES:
            importlib.import_module(name)
        gc.freeze()  # no copy goes through what it has from here
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGCHLD, report_ended)
        requests.send(b"ready")
        serve(requests)
