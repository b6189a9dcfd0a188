"""Runs a script many times over: imports once what it needs, then forks for each.

`python forks.py SCRIPT MODULE...` takes a line of JSON at a time on stdin. For `{"argument": ...,
"log": ...}` it runs the script with that argument and that file for its stderr, in a process of
its own, and answers with that process's id and the first line that the script prints, which is
empty if it ends before. For `{"end": id}` it ends that process. It ends with its stdin.
"""

import importlib
import json
import os
import runpy
import signal
import sys
from typing import Any

SCRIPT, MODULES = sys.argv[1], sys.argv[2:]


def fork(argument: str, log: str) -> dict[str, Any]:
    """Run the script in a copy of this process."""
    read, write = os.pipe()
    child = os.fork()
    if not child:
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(write, 1)
        os.dup2(os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600), 2)
        sys.argv = [SCRIPT, argument]
        runpy.run_path(SCRIPT, run_name="__main__")
        raise SystemExit
    os.close(write)
    kept[child] = os.fdopen(read)  # open until it ends: it may print more
    return {"id": child, "line": kept[child].readline()}


def end(child: int) -> dict[str, Any]:
    """End such a copy."""
    os.kill(child, signal.SIGTERM)
    os.waitpid(child, 0)
    kept.pop(child).close()
    return {}


kept: dict[int, Any] = {}
for name in MODULES:
    importlib.import_module(name)
for line in sys.stdin:
    asked = json.loads(line)
    print(json.dumps(end(asked["end"]) if "end" in asked else fork(**asked)), flush=True)
