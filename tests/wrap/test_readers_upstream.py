"""Hostile answers of a server over HTTP, through `wrap --upstream`, to readers of lines and events.

The server prints its JSON over many lines, tells events in several `data:` lines, and puts line
ends of every kind in legal and illegal places. A client reads exactly what a Session makes of each
answer, and each request has one.
"""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random

import pytest

from pipeguard import Direction, Frame
from pipeguard.firewall.session.own_frames import ServerGone
from pipeguard.transports.sse import EventStream
from tests.each import some
from tests.listening import Process
from tests.wrap.listening import Browser, Listening
from tests.wrap.test_readers import (
    ENDS,
    HIDDEN,
    READERS,
    TIMES,
    Judged,
    Reader,
    broken,
    plain,
    read_alike,
)
from tests.wrap.wrapped import Json, Object, Wrapped

ANSWERS = 60
SERVED = """
import http.server, json, sys

told = [(kind, bytes.fromhex(body)) for kind, body in json.load(open(sys.argv[1]))]

class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        status, kind, body = 200, "application/json", b""
        if asked.get("method") == "initialize":
            result = {"protocolVersion": "2025-06-18", "capabilities": {}}
            result["serverInfo"] = {"name": "s", "version": "1"}
            body = json.dumps({"jsonrpc": "2.0", "id": asked["id"], "result": result}).encode()
        elif "id" not in asked or "method" not in asked:
            status = 202
        else:
            kind, body = told[int(asked["method"][2:]) - 1]
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        if asked.get("method") == "initialize":
            self.send_header("Mcp-Session-Id", "one")
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        self.send_error(405)

    def log_message(self, *_):
        pass

server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
print(f"http://127.0.0.1:{server.server_address[1]}/mcp", flush=True)
server.serve_forever()
"""


def answers(random: Random) -> Iterator[tuple[str, bytes]]:
    """Media types and bodies: the answer to each of so many requests."""
    for number in range(1, ANSWERS + 1):
        text = random.choice(["plain", "a\u2028b", "c\u2029d\x85e", "caf\u00e9 \u4e2d", "x\\ry"])
        body: Object = {"n": number, "text": text, "list": [1, "a", {"k\u2028": None}]}
        if random.random() < 0.2:  # what readers who know other line ends would take for an event
            end = random.choice(ENDS)
            body["text"] = f"plain{end}{end}data: {HIDDEN}{end}{end}"
        message: Object = {"jsonrpc": "2.0", "id": number, "result": body}
        indent = random.choice([None, None, 2])
        whole = json.dumps(message, ensure_ascii=random.random() < 0.3, indent=indent)
        frame = broken(random, whole) if random.random() < 0.6 else whole
        if random.random() < 0.5:
            yield "application/json", frame.encode()
            continue
        end = random.choice(["\n", "\r\n", "\r"])
        lines = frame.split("\n")  # what else ends a line to a reader of events stays in them
        event = "".join(f"data: {line}{end}" for line in lines)
        odd = random.choice(["\u2028", "\x85", "\v", "\x1c"])
        hidden = f"{odd}data: {HIDDEN}{odd}{odd}"
        before = random.choice(["", "", f":{hidden}{end}{end}", f"event: x{hidden}{end}{end}"])
        yield "text/event-stream", f"{before}event: message{end}{event}{end}".encode()


def frames_in(kind: str, body: bytes) -> list[bytes]:
    """The frames of an answer, as a reader of HTML's event streams takes them."""
    if kind == "application/json":
        return [body] if body.strip() else []
    return [event.data for event in EventStream().feed(body) if event.data]


def expected(told: list[tuple[str, bytes]]) -> list[Json]:
    """Return what a client gets for each request: the server's answer, or one of ours."""
    judged, onward = Judged(), list[Json]()
    for number, (kind, body) in enumerate(told, 1):
        asked = b'{"jsonrpc":"2.0","id":%d,"method":"x/%d"}' % (number, number)
        judged.session.take(Frame(Direction.TO_SERVER, asked, 0.0))
        for frame in frames_in(kind, body):
            verdict = judged.session.take(Frame(Direction.TO_CLIENT, frame, 0.0))
            if verdict.forward is not None:
                onward.append(plain(json.loads(verdict.forward)))
        onward += [{"id": number, "ours": True} for _ in judged.session.take(ServerGone(0.0)).own]
    return onward


@contextmanager
def serving(folder: Path, told: list[tuple[str, bytes]]) -> Iterator[str]:
    script, kept = folder / "served.py", folder / "told.json"
    script.write_text(SERVED)
    kept.write_text(json.dumps([(kind, body.hex()) for kind, body in told]))
    command = [sys.executable, "-I", str(script), str(kept)]
    with Process(folder / "server.log", command) as server:
        yield server.url


@pytest.fixture(scope="module", params=range(TIMES))
def taken(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, list[Json]]:
    """Return what a client of stdio gets from such a server, and what it should."""
    told = list(answers(Random(request.param)))  # noqa: S311  the same on every run
    folder = tmp_path_factory.mktemp("upstream")
    lines: list[bytes] = []
    with serving(folder, told) as url:
        options = ["--name", "demo", "--upstream", url]
        with Wrapped(folder, options=options, command=[]).opened() as wrapped:
            for number in range(1, ANSWERS + 1):
                wrapped.send({"jsonrpc": "2.0", "id": number, "method": f"x/{number}"})
                lines.append(wrapped.line())
            wrapped.hang_up()
            assert wrapped.frames_to_the_end() == [], "each request has one answer"
    file = folder / "to-client"
    file.write_bytes(b"".join(line + b"\n" for line in lines))
    return file, expected(told)


@pytest.mark.parametrize("reader", READERS, ids=lambda reader: reader.__name__)
def test_every_reader_of_lines_sees_what_was_judged(
    taken: tuple[Path, list[Json]], reader: Reader
) -> None:
    file, judged = taken
    assert sum("result" in one for one in judged if isinstance(one, dict)) > ANSWERS / 4
    read_alike(reader, file, judged)


def by_lines(body: bytes) -> list[Json]:
    """The messages in events, to a reader that knows the line ends of `str.splitlines`."""
    found, data = list[Json](), list[str]()
    for line in [*body.decode().splitlines(), ""]:
        if line.startswith("data:"):
            data.append(line[5:].removeprefix(" "))
        elif not line:
            if any(data):  # an empty event carries no message
                found.append(json.loads("\n".join(data)))
            data = []
    return found


def by_standard(body: bytes) -> list[Json]:
    return [json.loads(event.data) for event in EventStream().feed(body) if event.data]


@pytest.mark.parametrize("seed", range(TIMES))
def test_every_reader_of_events_sees_what_was_judged(tmp_path: Path, seed: int) -> None:
    told = list(answers(Random(seed + 1)))  # noqa: S311  the same on every run
    seen: dict[str, list[Json]] = {"lines": [], "standard": []}
    with serving(tmp_path, told) as url, Listening(tmp_path, ["--upstream", url]) as listening:
        browser = Browser(listening.url).open()
        for number in range(1, ANSWERS + 1):
            asked: Object = {"jsonrpc": "2.0", "id": number, "method": f"x/{number}"}
            with browser.send("POST", asked) as response:
                is_json = response.headers.get_content_type() == "application/json"
                body = response.read()
            for name, reader in (("lines", by_lines), ("standard", by_standard)):
                seen[name] += map(plain, [json.loads(body)] if is_json else reader(body))
    judged = expected(told)
    for each in seen.values():
        for one, other in some(zip(each, judged, strict=True)):
            assert one == other
