"""The least that a wrapper can be: `pump.py COMMAND…` copies bytes both ways in two threads.

It gives the lower bound of the figures, and shows that the benchmark itself works.
"""

import os
import subprocess
import sys
import threading
from collections.abc import Callable

READ_BYTES = 65536  # what one read of a pipe gives on Linux (pipe(7))


def pump(source: int, sink: int, end: Callable[[], None]) -> None:
    """Copy until the source ends or the sink is gone."""
    try:
        while data := os.read(source, READ_BYTES):
            while data:
                data = data[os.write(sink, data) :]
    except BrokenPipeError:
        pass  # nobody listens any more
    end()


def main(command: list[str]) -> int:
    """Run the command behind the pump; returns its exit code."""
    child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0)
    if child.stdin is None or child.stdout is None:
        raise AssertionError("both are pipes")
    up = (0, child.stdin.fileno(), child.stdin.close)
    threading.Thread(target=pump, args=up, daemon=True).start()
    pump(child.stdout.fileno(), 1, lambda: None)
    return child.wait()


if __name__ == "__main__":
    os._exit(
        main(sys.argv[1:]) & 0xFF
    )  # the thread may still wait for a client that writes no more
