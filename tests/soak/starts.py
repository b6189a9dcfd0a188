"""Starts `pipeguard wrap` again and again, tells each to end, and times how long anything runs on.

A program: it becomes the subreaper of all that it starts (prctl(2)), so that what a wrapper leaves
behind becomes its child, and a run is over once it has no child. Of the time on the clock it takes
off what the machine kept them waiting: in each sample, the longest time that one of the processes
was ready to run and had no processor (proc(5), schedstat, second field).
"""

import argparse
import ctypes
import json
import os
import random
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from time import monotonic, sleep

from tests.forking import PIPEGUARD
from tests.wrap.wrapped import PYTHON, SERVER, Object, line

LIMIT_SECONDS, PATIENCE_SECONDS = 1.0, 15.0
LATEST_SECONDS = 0.4  # after the start
SAMPLE_SECONDS = 0.02
PR_SET_CHILD_SUBREAPER = 36  # <linux/prctl.h>
ISOLATED = ("--isolate", "bubblewrap")
WAYS = ("SIGTERM", "SIGINT", "SIGHUP", "end of input", "twice", "group")
CLIENT: Object = {"name": "tests", "version": "1"}
PARAMS: Object = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": CLIENT}


def children_of(process: int) -> list[int]:
    """The processes that one started."""
    with suppress(OSError):
        return [*map(int, Path(f"/proc/{process}/task/{process}/children").read_text().split())]
    return []


def descendants() -> Iterator[int]:
    """Yield all descendants of this process."""
    waiting = children_of(os.getpid())
    while waiting:
        yield (process := waiting.pop())
        waiting += children_of(process)


def waited_ns() -> dict[int, int]:
    """Return how long each descendant has waited for a processor."""
    waited = {}
    for process in descendants():
        with suppress(OSError):
            waited[process] = int(Path(f"/proc/{process}/schedstat").read_text().split()[1])
    return waited


def tell(process: subprocess.Popen[bytes], way: str) -> None:
    """Make a wrapper end."""
    if way == "end of input":
        assert process.stdin is not None
        process.stdin.close()
    elif way == "group":
        os.killpg(process.pid, signal.SIGINT)
    elif way == "twice":
        process.send_signal(signal.SIGINT)
        process.send_signal(signal.SIGTERM)
    else:
        process.send_signal(signal.Signals[way])


def wait_until_gone(wrapper: int) -> tuple[float, float, int | None, list[str]]:
    """Wait until no process is left.

    Returns:
        The seconds on the clock, the machine's delays among them, the wrapper's exit code, and
        the processes left after `PATIENCE_SECONDS`.
    """
    began, before, waited, code = monotonic(), waited_ns(), 0, None
    while True:
        try:
            ended, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return monotonic() - began, waited / 1e9, code, []
        if ended == wrapper:
            code = os.waitstatus_to_exitcode(status)
        if ended:
            continue
        if monotonic() - began > PATIENCE_SECONDS:
            return monotonic() - began, waited / 1e9, code, kill_all()
        sleep(SAMPLE_SECONDS)
        now = waited_ns()
        waited += max((now[each] - before.get(each, now[each]) for each in now), default=0)
        before = now


def kill_all() -> list[str]:
    """Kill all remaining processes; return the name of each, and where it waited."""
    left = []
    for process in [*descendants()]:
        with suppress(OSError):
            folder = Path(f"/proc/{process}")
            words = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()[:80]
            name, place = (folder / "comm").read_text().strip(), (folder / "wchan").read_text()
            left.append(f"{name} [{place}] {words}")
            os.kill(process, signal.SIGKILL)
    with suppress(ChildProcessError):
        while True:
            os.waitpid(-1, 0)
    return left


def start_and_stop(way: str, delay: float, words: Sequence[str], folder: str) -> dict[str, object]:
    """Start one, end it after a delay; return the facts about that."""
    asks = delay * 1e6 % 2 < 1
    said = Path(folder, "stderr")
    with said.open("wb") as file:
        process = subprocess.Popen(
            [*PIPEGUARD, "wrap", "--name", "x", *words, "--", *PYTHON, str(SERVER)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=file,
            env=os.environ | {"PIPEGUARD_STATE_DIR": f"{folder}/state"},
            start_new_session=True,
            bufsize=0,
        )
    assert process.stdin is not None
    assert process.stdout is not None
    if asks:
        process.stdin.write(
            line({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": PARAMS})
        )
    sleep(delay)
    tell(process, way)
    clock, waited, code, left = wait_until_gone(process.pid)
    process.returncode = -1 if code is None else code
    process.stdin.close()
    process.stdout.close()
    seconds = {"delay": round(delay, 4), "clock": round(clock, 3), "waited": round(waited, 3)}
    text = said.read_text(errors="replace")
    return {"way": way, "asks": asks, "code": code, "left": left, "said": text, **seconds}


def main() -> None:
    """Print a line of JSON for each that took too long, and a last one with the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("count", type=int)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--way", choices=WAYS, action="append")
    parser.add_argument("words", nargs="*", help="options of `wrap`")
    asked = parser.parse_args()
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    for ignored in (signal.SIGINT, signal.SIGHUP):  # as a shell may have it, and our children
        signal.signal(ignored, signal.default_int_handler)
    chance = random.Random(asked.seed)  # noqa: S311  of times, so that a run can be repeated
    done, late = [], 0
    with tempfile.TemporaryDirectory() as folder:
        for number in range(asked.count):
            way = (asked.way or WAYS)[number % len(asked.way or WAYS)]
            run = start_and_stop(way, chance.uniform(0, LATEST_SECONDS), asked.words, folder)
            took = float(str(run["clock"])) - float(str(run["waited"]))
            done.append(took)
            if took > LIMIT_SECONDS:
                late += 1
                print(json.dumps(run), flush=True)
    done.sort()
    figures = {"starts": len(done), "late": late, "median": round(done[len(done) // 2], 3)}
    print(json.dumps({**figures, "slowest": round(done[-1], 3)}))


if __name__ == "__main__":
    main()
