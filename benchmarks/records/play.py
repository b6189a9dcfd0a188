"""Sessions through a real `pipeguard wrap --record`, and what the record has of them."""

import base64
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

from benchmarks.records.cases import CLIENT

ANSWER_SECONDS = 20
SCRIPTED = Path(__file__).with_name("server.py")
PIPEGUARD = (sys.executable, "-m", "pipeguard")
Frames = Sequence[tuple[str, bytes]]


@dataclass(frozen=True)
class Played:
    """A session's record and its replay.

    Attributes:
        texts: what can be read in each line, with the side that sent a frame.
        frames: their number, without those that did not fit.
        withheld: frames that are left out.
        different: for each frame that has another fate in the replay, how.
        size: of the record, in bytes.
        live: seconds that the session took, with the start of `wrap`.
        seconds: that the replay took, with the start of the command.
    """

    texts: Sequence[tuple[str, str]]
    frames: int
    withheld: int
    different: Sequence[str]
    size: int
    live: float
    seconds: float


def play(frames: Frames, folder: Path) -> Played:
    """Record a session, read the record and replay it.

    Args:
        frames: of the session, with the side that sends each.
        folder: that does not exist.
    """
    record = folder / "record"
    record.mkdir(0o700, parents=True)
    began = perf_counter()
    _record(frames, folder, record)
    live = perf_counter() - began
    (path,) = record.iterdir()
    texts, withheld = list[tuple[str, str]](), 0
    lines = [json.loads(line) for line in path.read_bytes().splitlines()]
    for fields in lines:
        withheld += "withheld" in fields
        text = fields.pop("frame", "") or base64.b64decode(fields.pop("frame64", "")).decode()
        texts += [(fields.get("from", ""), text), ("", json.dumps(fields))]
    began = perf_counter()
    command = [*PIPEGUARD, "replay", str(path), "--format", "json"]
    report = json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=False).stdout)
    seconds = perf_counter() - began
    found = [each for kind in ("stopped", "passed", "changed") for each in report[kind]]
    different = [f"{path.parents[1].name}: {json.dumps(each)}" for each in found]
    size = path.stat().st_size
    return Played(texts, lines[-1]["frames"], withheld, different, size, live, seconds)


def _record(frames: Frames, folder: Path, record: Path) -> None:
    answers, last = dict[str, list[str]](), ""
    for side, frame in frames:
        if side == CLIENT:
            last = _id_of(frame)
        else:
            answers.setdefault(last, []).append(frame.decode())
    script = folder / "script.json"
    script.write_text(json.dumps(answers), "utf-8")
    process = subprocess.Popen(
        [
            *PIPEGUARD,
            "wrap",
            "--record",
            str(record),
            "--",
            sys.executable,
            str(SCRIPTED),
            str(script),
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=os.environ | {f"XDG_{name}_HOME": str(folder) for name in ("CONFIG", "STATE")},
    )
    try:
        _talk(process, frames)
        process.wait(ANSWER_SECONDS)
    finally:
        process.kill()
        process.wait()


def _talk(process: "subprocess.Popen[bytes]", frames: Frames) -> None:
    if process.stdin is None or process.stdout is None:
        raise AssertionError("both are pipes")
    for frame in (frame for side, frame in frames if side == CLIENT):
        os.write(process.stdin.fileno(), frame + b"\n")
        answer = b"{}"
        while answer and _id_of(answer) != _id_of(frame):
            answer = process.stdout.readline()
    process.stdin.close()


def _id_of(frame: bytes) -> str:
    return json.dumps(json.loads(frame).get("id"))
