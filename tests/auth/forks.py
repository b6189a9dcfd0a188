"""Runs a program many times: imports its modules once, then forks for each run.

`python forks.py PROGRAM MODULE...` takes a line of JSON at a time on stdin; PROGRAM is a script, or
the name of a module. For `{"argument": ..., "log": ...}` it runs that with the argument and that
file for its stderr, in a process of its own, and answers with that process's id and the first line
that it prints, which is empty if it ends before. For `{"end": id}` it ends that process. For
`{"arguments": [...], "environment": {...}, "streams": [...], "seconds": ...}` it runs it with three
files for its standard streams until it ends, and answers with its exit code. It ends with its
stdin.
"""

import atexit
import gc
import importlib
import json
import os
import runpy
import signal
import sys
import threading
from typing import Any

PROGRAM, MODULES = sys.argv[1], sys.argv[2:]


def become(arguments: list[str]) -> None:
    """Be the program, in a copy of this process.

    It ends as an interpreter does, but leaves its modules: to free them takes longer than a run.
    """
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


def run(
    arguments: list[str], environment: dict[str, str], streams: list[str], seconds: int
) -> dict[str, Any]:
    """Run the program to its end."""
    child = os.fork()
    if not child:
        signal.alarm(seconds)  # whoever waits longer has failed
        for number, path in enumerate(streams):
            os.dup2(os.open(path, os.O_WRONLY if number else os.O_RDONLY), number)
        os.environ.clear()
        os.environ.update(environment)
        become(arguments)
    return {"code": os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])}


def fork(argument: str, log: str) -> dict[str, Any]:
    """Start the program in a copy of this process."""
    read, write = os.pipe()
    child = os.fork()
    if not child:
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(write, 1)
        os.dup2(os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600), 2)
        become([argument])
    os.close(write)
    kept[child] = os.fdopen(read)  # open until it ends: it may print more
    return {"id": child, "line": kept[child].readline()}


def end(end: int) -> dict[str, Any]:
    """End such a copy."""
    os.kill(end, signal.SIGTERM)
    os.waitpid(end, 0)
    kept.pop(end).close()
    return {}


kept: dict[int, Any] = {}
for name in MODULES:
    importlib.import_module(name)
gc.freeze()  # no copy goes through what it has from here
for line in sys.stdin:
    asked = json.loads(line)
    called = run if "arguments" in asked else end if "end" in asked else fork
    print(json.dumps(called(**asked)), flush=True)
