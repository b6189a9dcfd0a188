"""A tee for a stdio server: `recorder.py RECORD NAMES COMMAND…` runs the command, keeps its bytes.

RECORD.N.to-server and RECORD.N.to-client get the bytes as they are, each written before it is
forwarded, so a record is complete however the session ends; a client that starts its server again
gets a higher N. NAMES, with commas between, are the variables that the client set for its
server: they belong to the child, not to the recorder, as they would not belong to the client, so
the child finds the parent that it would have without a recorder. It knows no framing.
"""

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from time import monotonic_ns
from types import FrameType
from typing import IO, NoReturn

READ_BYTES = 65536  # what a Linux pipe holds


def pump(source: int, sink: int, record: IO[bytes]) -> None:
    """Copy bytes until the source ends or the sink is gone."""
    while data := os.read(source, READ_BYTES):
        record.write(data)
        try:
            while data:
                data = data[os.write(sink, data) :]
        except BrokenPipeError:
            return


def unused(record: str) -> list[IO[bytes]]:
    """The two files of this run, whose number is higher than those of earlier ones."""
    stem = f"{record}.{monotonic_ns():020}"
    return [Path(f"{stem}.{way}").open("xb", buffering=0) for way in ("to-server", "to-client")]


def start_again(record: str, names: str, *command: str) -> NoReturn:
    """Be replaced by a recorder whose own environment is without the variables of these names."""
    given = {name: os.environ.pop(name) for name in names.split(",") if name in os.environ}
    flags = ["-I", "-S", __file__, "--", record, json.dumps(given), *command]
    os.execv(sys.executable, [sys.executable, *flags])  # noqa: S606  no shell is wanted


def main(record: str, given: str, *command: str) -> int:
    """Run the command between two records; returns its exit code."""
    to_server, to_client = unused(record)
    child = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=os.environ | json.loads(given)
    )
    if child.stdin is None or child.stdout is None:
        raise AssertionError("both were asked for")
    stdin, stdout = child.stdin, child.stdout

    def pass_on(number: int, _frame: FrameType | None) -> None:
        child.send_signal(number)

    signal.signal(signal.SIGTERM, pass_on)

    def feed() -> None:
        pump(0, stdin.fileno(), to_server)
        stdin.close()

    threading.Thread(target=feed, daemon=True).start()
    pump(stdout.fileno(), 1, to_client)
    os.close(1)
    code = child.wait()
    return 128 - code if code < 0 else code


if __name__ == "__main__":
    if sys.argv[1] != "--":
        start_again(*sys.argv[1:])
    os._exit(main(*sys.argv[2:]))  # the thread may still wait for a client that writes no more
