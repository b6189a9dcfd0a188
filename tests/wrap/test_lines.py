"""JSON on many lines over HTTP, for servers and clients that read lines; and servers that go deaf.

A body of JSON may be printed prettily (RFC 8259, section 2), an event may have more than one line
of `data:` (HTML Living Standard, 9.2.6), and neither may hang or end anybody. Each has an innocent
twin: the same message on one line.
"""

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import product
from pathlib import Path

from tests.hostile.wire import Seen, Upstream, answered, response, stream
from tests.wrap.listening import Browser, Listening, next_event
from tests.wrap.wrapped import GONE, PYTHON, SERVER, UNSCANNABLE, Json, Object, Wrapped, error_code

ACTOR = (*PYTHON, str(SERVER))
LATEST = "2026-07-28"
# A server that, once three ask, first says what answers nobody: a line of text, 24 MB of lines, a
# notification of 20 MB; or text without an end, before it is gone.
STRAYS = """
import json, sys
out, waiting = sys.stdout.buffer, []
for line in sys.stdin.buffer:
    asked = json.loads(line)
    if asked["method"] == "initialize":
        opened = {"protocolVersion": "2025-06-18", "capabilities": {},
                  "serverInfo": {"name": "s", "version": "1"}}
        out.write(json.dumps({"jsonrpc": "2.0", "id": asked["id"], "result": opened}).encode())
        out.write(b"\\n")
    elif "id" in asked:
        waiting.append(asked)
    if len(waiting) == int(sys.argv[1]):
        what = asked["params"].get("text")
        if what == "notification":
            out.write(b'{"jsonrpc":"2.0","method":"notifications/message","params":{"data":"')
            out.write(b"x" * 20_000_000 + b'"}}\\n')
        for _ in range({"line": 1, "lines": 24, "endless": 24}.get(what, 0)):
            out.write(b"x" * 1_000_000 + (b"" if what == "endless" else b"\\n"))
        if what == "endless":
            break
        for one in reversed(waiting):
            out.write(json.dumps({"jsonrpc": "2.0", "id": one["id"], "result": {}}).encode())
            out.write(b"\\n")
        waiting = []
    out.flush()
"""
WRITTEN: list[Callable[[Json], bytes]] = [
    lambda value: json.dumps(value).encode(),
    lambda value: json.dumps(value, indent=2).encode(),
    lambda value: json.dumps(value).encode() + b"\n",
    lambda value: json.dumps(value, indent=1).replace("\n", "\r\n").encode(),
    lambda value: json.dumps(value, indent=1).replace("\n", "\r").encode(),
]


class Modern(Browser):
    """A client of 2026-07-28."""

    def call(self, text: str, write: Callable[[Json], bytes] = WRITTEN[0]) -> Object:
        self._number += 1
        meta: Object = {"io.modelcontextprotocol/protocolVersion": LATEST}
        params: Object = {"name": "echo", "arguments": {"text": text}, "_meta": meta}
        message: Object = {
            "jsonrpc": "2.0",
            "id": self._number,
            "method": "tools/call",
            "params": params,
        }
        mirrored = {"MCP-Protocol-Version": LATEST, "Mcp-Method": "tools/call", "Mcp-Name": "echo"}
        (told,) = self.send_body("/mcp", write(message), self.headers | mirrored)
        assert told["id"] == self._number
        return told


def said(answer: Object) -> Json:
    result = answer["result"]
    assert isinstance(result, dict)
    return result["content"]


def content(text: str) -> Json:
    return [{"type": "text", "text": text}]


def ready(at: Listening) -> int:
    connection = Browser(at.url).connect()
    connection.request("GET", "/readyz", headers={"Connection": "close"})
    with connection.getresponse() as answer:
        answer.read()
        return answer.status


# --- from clients of HTTP to a server that reads lines --------------------------------------------


def test_a_body_on_many_lines_is_served_and_so_is_everybody_else(tmp_path: Path) -> None:
    with Listening(tmp_path, (), ACTOR) as at:
        one, other, client = Modern(at.url), Modern(at.url), Browser(at.url).open()
        older = Browser(at.url)
        with older.send("GET", path="/sse") as stream_:
            assert stream_.readline() == b"event: endpoint\n"
            address = stream_.readline().removeprefix(b"data: ").decode().strip()
            for number, write in enumerate(WRITTEN, 1):
                assert said(one.call("first", write)) == content("first")
                assert said(other.call("second")) == content("second")
                assert ready(at) == 200
                asked = write(asking(number, "do/echo", text="two\nlines"))
                (told,) = client.send_body("/mcp", asked, client.headers)
                assert (told["id"], told["result"]) == (number, {"text": "two\nlines"})
                connection = older.connect()
                connection.request("POST", address, write(asking(number, "do/pid")), older.headers)
                with connection.getresponse() as taken:
                    assert taken.status == 202
                while (event := next_event(stream_)).get("id") is None:
                    pass
                assert event["id"] == number


# --- from servers of HTTP to a client that reads lines --------------------------------------------


def pretty(seen: Seen) -> bytes:
    return json.dumps(json.loads(answered(seen)), indent=2).encode()


def in_events(body: bytes) -> list[bytes]:
    lines = b"".join(b"data: " + line + b"\n" for line in body.splitlines())
    return stream(b"event: message\n" + lines + b"\n")


def test_an_answer_on_many_lines_reaches_a_client_of_stdio(tmp_path: Path) -> None:
    ways = product(["json", "events"], [b"\n", b"\r\n"], [False, True])
    asked_twice = iter([way for way in ways for _ in range(2)])

    def scripted(seen: Seen) -> list[bytes] | None:
        if seen.message.get("method") != "prompts/list":
            return None
        how, break_, is_pretty = next(asked_twice)
        body = pretty(seen) if is_pretty else answered(seen)
        body = body.replace(b"\n", break_)
        return [response("200 OK", body)] if how == "json" else in_events(body)

    with Upstream() as upstream:
        upstream.script = scripted
        options = ("--name", "demo", "--upstream", upstream.url)
        with Wrapped(tmp_path, options=options, command=()).opened() as wrapped:
            for _ in range(16):
                assert wrapped.ask("prompts/list")["result"] == {"prompts": []}
            assert next(asked_twice, None) is None
            assert "result" in wrapped.ask("tools/list")
            wrapped.end()


# --- servers that take nothing more ---------------------------------------------------------------


def test_what_a_deaf_server_is_asked_is_answered_and_the_next_is_served(tmp_path: Path) -> None:
    """It closes its standard input, and lives on with the pipe from it open."""
    let = tmp_path / "let"
    with Listening(tmp_path, (), ACTOR) as at:
        client = Browser(at.url).open()
        assert client.ask("do/close-stdin", text=str(let))["result"] == {}
        assert error_code(client.ask("do/pid")) == GONE
        let.touch()
        again = Browser(at.url).open()
        assert "result" in again.ask("do/pid")


def test_it_is_ready_while_a_server_can_be_started_and_not_when_none_can(tmp_path: Path) -> None:
    program = tmp_path / "server"
    program.write_text(
        f"#!{PYTHON[0]}\nimport runpy\nrunpy.run_path({str(SERVER)!r}, {{}}, '__main__')\n"
    )
    program.chmod(0o700)
    with Listening(tmp_path, (), (str(program),)) as at:
        assert said(Modern(at.url).call("one")) == content("one")
        assert ready(at) == 200
        program.unlink()
        opening: Object = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {}}
        answer = Browser(at.url).ask("initialize", **opening)
        assert error_code(answer) == GONE
        assert ready(at) == 503
        assert said(Modern(at.url).call("two")) == content("two"), "this one runs"


# --- text on standard output in place of answers --------------------------------------------------

Ask = Callable[[Listening, list[Object]], list[Object]]


def in_a_session(at: Listening, asked: list[Object]) -> list[Object]:
    client = Browser(at.url).open()
    return at_once([partial(answer_to, client, one, {}) for one in asked])


def alone(at: Listening, asked: list[Object]) -> list[Object]:
    meta: Object = {"io.modelcontextprotocol/protocolVersion": LATEST}
    sent: list[Object] = [{**one, "params": {**params_of(one), "_meta": meta}} for one in asked]
    return at_once(
        [
            partial(
                answer_to,
                Browser(at.url),
                one,
                {"MCP-Protocol-Version": LATEST, "Mcp-Method": str(one["method"])},
            )
            for one in sent
        ]
    )


def under_one_id(at: Listening, asked: list[Object]) -> list[Object]:
    told = alone(at, [{**one, "id": 1} for one in asked])
    return [{**answer, "id": one["id"]} for one, answer in zip(asked, told, strict=True)]


def params_of(message: Object) -> Object:
    params = message["params"]
    assert isinstance(params, dict)
    return params


def answer_to(client: Browser, message: Object, more: dict[str, str]) -> Object:
    (told,) = client.send_body("/mcp", json.dumps(message), client.headers | more)
    return told


def at_once(asking: list[Callable[[], Object]]) -> list[Object]:
    with ThreadPoolExecutor(len(asking)) as threads:
        return [one.result() for one in [threads.submit(ask) for ask in asking]]


def asking(number: int, method: str, **params: Json) -> Object:
    return {"jsonrpc": "2.0", "id": number, "method": method, "params": params}


ASKS: tuple[Ask, ...] = (in_a_session, alone, under_one_id)
NO_ANSWERS = ("line", "lines", "notification")


def test_what_is_no_answer_takes_none(tmp_path: Path) -> None:
    with Listening(tmp_path, (), (*PYTHON, "-c", STRAYS, "3")) as at:
        for ask, what in product(ASKS, NO_ANSWERS):
            told = ask(at, [asking(number, "do/say", text=what) for number in (1, 2, 3)])
            assert [(one["id"], one["result"]) for one in told] == [(n, {}) for n in (1, 2, 3)]
            assert ready(at) == 200


def test_a_server_that_dies_within_its_line_is_told(tmp_path: Path) -> None:
    with Listening(tmp_path, (), (*PYTHON, "-c", STRAYS, "3")) as at:
        for ask in ASKS:
            told = ask(at, [asking(number, "do/say", text="endless") for number in (1, 2, 3)])
            assert [one["id"] for one in told] == [1, 2, 3]
            assert [error_code(one) for one in told] == [GONE] * 3


def test_what_is_no_answer_takes_none_of_a_client_of_stdio(tmp_path: Path) -> None:
    with Wrapped(tmp_path, command=(*PYTHON, "-c", STRAYS, "1")).opened() as wrapped:
        for what in NO_ANSWERS:
            assert wrapped.ask("do/say", text=what)["result"] == {}


def test_thousands_that_wait_are_all_answered_in_any_order(tmp_path: Path) -> None:
    many = 9_990
    with Wrapped(tmp_path, command=(*PYTHON, "-c", STRAYS, str(many))).opened() as wrapped:
        params: Object = {"name": "echo", "arguments": {"path": "/home/user/notes/report.txt"}}
        ids = wrapped.requests(*[("tools/call", params)] * many)
        answered = [wrapped.frame() for _ in ids]
        assert [one["id"] for one in answered] == ids[::-1]
        assert all(one["result"] == {} for one in answered)


def test_an_event_over_the_limit_ends_only_what_it_answers(tmp_path: Path) -> None:
    is_answer = False

    def scripted(seen: Seen) -> list[bytes] | None:
        if seen.message.get("method") != "prompts/list":
            return None
        head = b'"id":%s,"result":' % json.dumps(seen.id).encode()
        head = head if is_answer else b'"method":"notifications/message","params":'
        large = b'data: {"jsonrpc":"2.0",' + head + b'{"data":"' + b"x" * 20_000_000 + b'"}}\n\n'
        return stream(large, b"data: " + answered(seen) + b"\n\n")

    with Upstream() as upstream:
        upstream.script = scripted
        options = ("--name", "demo", "--upstream", upstream.url)
        with Wrapped(tmp_path, options=options, command=()).opened() as wrapped:
            assert wrapped.ask("prompts/list")["result"] == {"prompts": []}
            is_answer = True
            assert error_code(wrapped.ask("prompts/list")) == UNSCANNABLE
            assert "result" in wrapped.ask("tools/list")
