"""Hostile frames through a real `wrap` to real readers of lines: all see exactly what was judged.

Each reader has another idea of a line's end. A Session judges the same frames; the bytes on the
wire are stored in a file, which every reader reads. `PIPEGUARD_FUZZ_FACTOR` says how many seeds are
tried.
"""

import base64
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

import pytest

from pipeguard import Direction, Frame, Policy, Session, make_guard
from pipeguard.firewall.protocol.framing import LineFrames
from pipeguard.firewall.session.own_frames import ServerGone
from tests import tools
from tests.fuzz.budget import FACTOR
from tests.fuzz.rulebook import engines
from tests.launch.processes import until
from tests.wrap.listening import Browser, Listening, messages
from tests.wrap.wrapped import PYTHON, Json, Object, Wrapped

HERE = Path(__file__).parent / "readers"
TIMES = max(1, int(float(os.environ.get(FACTOR, "1"))))
FRAMES = 300
BODIES = 60
PATIENCE_SECONDS = 120.0

# All that ends a line somewhere: `str.splitlines` knows all of them.
ENDS = ["\r", "\r", "\r\n", "\n", "\v", "\f", "\x1c", "\x1d", "\x1e", "\x85", "\u2028", "\u2029"]
HIDDEN = '{"jsonrpc":"2.0","id":9999,"method":"tools/call","params":{"name":"held"}}'
PONG = '{"jsonrpc":"2.0","id":1,"result":{"hidden":1}}'


# --- frames ------------------------------------------------------------------------------------


def frames(random: Random, count: int, *, answers: bool) -> Iterator[bytes]:
    """Messages in which line ends stand anywhere, and hostile ones that hide another."""
    for number in range(1, count + 1):
        text = random.choice(["plain", "a\u2028b", "c\u2029d\x85e", "caf\u00e9 \u4e2d", "x\\ry"])
        body: Object = {"n": number, "text": text, "list": [1, "a", {"k\u2028": None}]}
        if answers and random.random() < 0.8:
            message: Object = {"jsonrpc": "2.0", "id": number, "result": body}
        else:
            method = f"notifications/x/{number}" if answers else f"x/{number}"
            message = {"jsonrpc": "2.0", "id": number, "method": method, "params": body}
            if answers or random.random() < 0.2:
                del message["id"]
        frame = json.dumps(message, ensure_ascii=random.random() < 0.3)
        yield broken(random, frame).encode()


def broken(random: Random, frame: str) -> str:
    """A frame with line ends in it, with another message hidden between two, or as it is."""
    end = random.choice(ENDS)
    kind = random.choice(["as it is", "between", "between", "hidden", "inside", "around", "behind"])
    if kind == "between":
        at = random.choice([i for i, c in enumerate(frame) if c in ",:[{}]"])
        return frame[: at + 1] + end + frame[at + 1 :]
    if kind == "hidden":
        hidden = random.choice([HIDDEN, PONG])
        return frame.replace("[1, ", f"[{end}{hidden}{end}, ", 1)
    if kind == "inside":
        return frame.replace("plain", f"pl{end}ain").replace("caf", f"caf{end}")
    if kind == "around":
        return end + frame + random.choice(["\r", "\r\r", " \r", ""])
    if kind == "behind":
        return frame + end + random.choice(["", HIDDEN])
    return frame


def split(sent: bytes) -> list[bytes]:
    lines = LineFrames()
    return [*lines.feed(sent), *lines.end()]


class Judged:
    """A Session's verdicts on frames."""

    def __init__(self) -> None:
        self.session = Session(make_guard("demo", engines(), Policy(), {}), "RUN")

    def onward(self, direction: Direction, sent: bytes) -> list[Json]:
        """The messages that go on."""
        told = [self.session.take(Frame(direction, frame, 0.0)) for frame in split(sent)]
        return [plain(json.loads(v.forward)) for v in told if v.forward is not None]

    def at_the_end(self) -> list[Json]:
        return [plain(json.loads(one.frame)) for one in self.session.take(ServerGone(0.0)).own]


def plain(message: Json) -> Json:
    """Return a message; only the owner of one that PipeGuard wrote, because events differ."""
    if isinstance(message, dict) and '"source": "pipeguard"' in json.dumps(message):
        return {"id": message.get("id"), "ours": True}
    return message


# --- readers -----------------------------------------------------------------------------------


def universal(file: Path) -> list[Json]:
    """Python's text files, as `for line in sys.stdin`."""
    with file.open(encoding="utf-8") as lines:
        return [json.loads(line) for line in lines if line.strip()]


def splitlines(file: Path) -> list[Json]:
    """Python's `str.splitlines`, which knows more line ends than any other."""
    return [json.loads(line) for line in file.read_text("utf-8").splitlines() if line.strip()]


def python_sdk(file: Path) -> list[Json]:
    return [
        json.loads(line) for line in read_by(file, tools.server_python(), HERE / "python_sdk.py")
    ]


def first_python_sdk(file: Path) -> list[Json]:
    return [
        json.loads(line)
        for line in read_by(file, tools.first_line_python(), HERE / "python_sdk.py")
    ]


def typescript_sdk(file: Path) -> list[Json]:
    modules = str(tools.npm_modules())
    words = tools.node(), HERE / "typescript_sdk.mjs", modules
    return [json.loads(one) for one in read_by(file, *words)]


def readline(file: Path) -> list[Json]:
    read = read_by(file, tools.node(), HERE / "readline.mjs")
    return [json.loads(json.loads(one)) for one in read]


@cache
def compiled() -> TemporaryDirectory[str]:
    """The folder with the compiled reader, until this process ends."""
    folder = TemporaryDirectory()
    subprocess.run(["javac", "-d", folder.name, HERE / "Lines.java"], check=True)
    return folder


def java(file: Path) -> list[Json]:
    words = "java", "-XX:+UseSerialGC", "-cp", compiled().name, "Lines"
    return [json.loads(base64.b64decode(one)) for one in read_by(file, *words)]


def read_by(file: Path, *words: Path | str) -> list[str]:
    with file.open("rb") as stdin:
        done = subprocess.run(
            words, stdin=stdin, capture_output=True, check=True, timeout=PATIENCE_SECONDS
        )
    return done.stderr.decode().split("\n")[:-1]


READERS = [
    *(universal, splitlines, python_sdk, first_python_sdk, typescript_sdk, readline),
    pytest.param(java, marks=pytest.mark.needs("java")),
]
Reader = Callable[[Path], list[Json]]


def read_alike(reader: Reader, file: Path, judged: list[Json]) -> None:
    """Fail if a reader of a file sees other messages than were judged, or in another order."""
    seen = [plain(message) for message in reader(file)]
    for one, other in zip(seen, judged, strict=False):
        assert one == other
    assert len(seen) == len(judged)


# --- through wrap ------------------------------------------------------------------------------

# A server that keeps what it reads, and says what a file holds once it has read so many lines.
KEEPS = """
import sys
kept, said, count = open(sys.argv[1], "wb"), open(sys.argv[2], "rb").read(), int(sys.argv[3])
for number, line in enumerate(sys.stdin.buffer, 1):
    kept.write(line)
    if number == count:
        sys.stdout.buffer.write(said)
        sys.stdout.buffer.flush()
        break
for line in sys.stdin.buffer:
    kept.write(line)
"""


@pytest.fixture(scope="module", params=range(TIMES))
def passed(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, list[Json]]:
    """Send hostile frames through both ways; return the output and the expected messages."""
    random = Random(request.param)  # noqa: S311  the same on every run
    folder = tmp_path_factory.mktemp("readers")
    to_server, to_client = folder / "to-server", folder / "to-client"
    spoken, kept = folder / "spoken", folder / "kept"
    asked = b"".join(
        b'{"jsonrpc":"2.0","id":%d,"method":"x/%d"}\n' % (number, number)
        for number in range(1, FRAMES + 1)
    )
    spoken.write_bytes(b"\n".join(frames(random, FRAMES, answers=True)) + b"\n")
    script = folder / "keeps.py"
    script.write_text(KEEPS)
    command = [*PYTHON, str(script), str(kept), str(spoken), str(FRAMES)]
    with Wrapped(folder, command=command) as wrapped:
        wrapped.send(asked)
        until(kept.exists, "the server runs")
        judged = Judged()
        judged.onward(Direction.TO_SERVER, asked)
        expected = judged.onward(Direction.TO_CLIENT, spoken.read_bytes())
        came = [wrapped.line() for _ in expected]
        wrapped.hang_up()
        came += [json.dumps(frame).encode() for frame in wrapped.frames_to_the_end()]
        to_client.write_bytes(b"\n".join(came) + b"\n")
    sent = b"\n".join(frames(random, FRAMES, answers=False)) + b"\n"
    with Wrapped(folder, command=["sh", "-c", 'cat > "$0"; :', str(to_server)]) as wrapped:

        def speak() -> None:  # beside the reading: nobody is to wait for the other
            wrapped.send(sent)
            wrapped.hang_up()

        writer = threading.Thread(target=speak, daemon=True)
        writer.start()
        wrapped.frames_to_the_end()
        writer.join()
    expected += judged.at_the_end()
    onward = Judged().onward(Direction.TO_SERVER, sent)
    assert min(len(expected), len(onward)) > FRAMES / 4, "too few pass to say anything"
    both = folder / "both"
    both.write_bytes(to_client.read_bytes() + to_server.read_bytes())
    return both, expected + onward


@pytest.mark.parametrize("reader", READERS, ids=lambda reader: reader.__name__)
def test_every_reader_sees_what_was_judged(passed: tuple[Path, list[Json]], reader: Reader) -> None:
    read_alike(reader, *passed)


# --- through wrap --listen ---------------------------------------------------------------------

# A server that keeps what it reads, and answers in lines that some readers would split.
ANSWERS = """
import json, sys
kept = open(sys.argv[1], "wb", buffering=0)
for line in sys.stdin.buffer:
    kept.write(line)
    asked = json.loads(line)
    if "id" not in asked:
        continue
    result = {"protocolVersion": "2025-06-18", "capabilities": {}, "serverInfo": {"name": "s",
              "version": "1"}} if asked["method"] == "initialize" else {"to": asked["method"],
              "ends": "\\x85\\u2028\\u2029"}
    said = {"jsonrpc": "2.0", "id": asked["id"], "result": result}
    text = json.dumps(said, ensure_ascii=False).replace(", ", ",\\r")
    sys.stdout.buffer.write(text.encode() + b"\\r\\n")
    sys.stdout.buffer.flush()
"""


@pytest.fixture(scope="module", params=range(TIMES))
def posted(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, list[Json]]:
    """POST hostile bodies; return the server's lines, and the messages of those that passed."""
    random = Random(request.param + 1)  # noqa: S311  the same on every run
    folder = tmp_path_factory.mktemp("posted")
    script, kept = folder / "answers.py", folder / "kept"
    script.write_text(ANSWERS)
    expected: list[Json] = []
    with Listening(folder, (), [sys.executable, "-I", str(script), str(kept)]) as listening:
        browser = Browser(listening.url).open()
        for number, body in enumerate(frames(random, BODIES, answers=False), 1):
            connection = browser.connect()
            connection.request("POST", "/mcp", body, browser.headers)
            with connection.getresponse() as response:
                told = messages(response)
            results = [one["result"] for one in told if "result" in one]
            if results:
                assert results == [{"to": f"x/{number}", "ends": "\x85\u2028\u2029"}]
            if results or response.status == 202:
                expected.append({**json.loads(body), "id": None})
    return kept, expected


@pytest.mark.parametrize("reader", READERS, ids=lambda reader: reader.__name__)
def test_every_reader_behind_http_sees_what_was_judged(
    posted: tuple[Path, list[Json]], reader: Reader
) -> None:
    file, judged = posted
    assert len(judged) > BODIES / 4, "too few pass to say anything"
    seen = [{**one, "id": None} for one in reader(file) if isinstance(one, dict)]
    assert [one for one in seen if str(one["method"]).startswith("x/")] == judged
    assert {one["method"] for one in seen if not str(one["method"]).startswith("x/")} == {
        "initialize",
        "notifications/initialized",
    }
