"""The client's roots by each way to announce them: at an address, in a request itself."""

import json
import os
import sys
from pathlib import Path

import pytest

from pipeguard.config.options import read
from pipeguard.errors import PolicyError
from pipeguard.isolation.roots import MOST_ASKED, RootsChannel
from pipeguard.isolation.servers.starter import ServerStarter
from tests.gateway.served import Served, text_of, write_servers
from tests.isolation.test_roots import home as home  # a fixture, by its name
from tests.launch.processes import until
from tests.wrap.wrapped import Json, Object, Wrapped

pytestmark = [pytest.mark.needs("bubblewrap"), pytest.mark.usefixtures("started")]

SERVER = (sys.executable, "-I", "-u", str(Path(__file__).with_name("rooted_server.py")))
LATEST = "2026-07-28"
ROOTED = ("--isolate", "auto", "--roots", "read")
UNSEEN = "No such file or directory"


def answer_of(folder: Path) -> Object:
    """Make a client's answer to `roots/list`."""
    return {"roots": [{"uri": f"file://{folder}"}]}


def modern(method: str, params: Object) -> Object:
    """A request that has all with it, as of 2026-07-28."""
    meta: Object = {
        "io.modelcontextprotocol/protocolVersion": LATEST,
        "io.modelcontextprotocol/clientCapabilities": {"roots": {}},
        "io.modelcontextprotocol/clientInfo": {"name": "tests", "version": "1"},
    }
    return {**params, "_meta": meta}


def called(answers: Json = None) -> Object:
    """A call of the tool, with the client's answers."""
    params: Object = {"name": "look", "arguments": {}}
    return modern(
        "tools/call", params if answers is None else {**params, "inputResponses": answers}
    )


def test_roots_in_a_request_itself_are_heard(home: Path, tmp_path: Path) -> None:
    options = ("--name", "demo", *ROOTED)
    for said in (UNSEEN, "own"):
        with Wrapped(tmp_path / "run", options=options, command=SERVER) as run:
            run.ask("tools/list", **modern("tools/list", {}))
            asked = run.ask("tools/call", **called())["result"]
            assert isinstance(asked, dict)
            assert asked["resultType"] == "input_required", run.said()
            answers: Object = {"elsewhere": answer_of(home / "private")}  # that nobody asked
            answers |= {"where": answer_of(home / "app")}
            assert text_of(run.ask("tools/call", **called(answers))) == said


def test_roots_that_cannot_be_given_are_an_error(home: Path) -> None:
    options = read([*ROOTED, "--listen", "127.0.0.1:0", "--", *SERVER])
    assert options is not None
    with pytest.raises(PolicyError, match=r"several clients may share it.*--read PATH"):
        ServerStarter(options, {"PATH": os.defpath})


def test_a_gateway_gives_no_roots_and_says_so(home: Path, tmp_path: Path) -> None:
    entry: Object = {"command": SERVER[0], "args": [*SERVER[1:]], "trust": "first-use"}
    policy = tmp_path / "policy.yaml"
    policy.write_text("isolate:\n- server: one\n  roots: read\n")
    servers = write_servers(tmp_path, {"one": entry})
    words = ("--config", str(servers), "--policy", str(policy), "--mode", "direct")
    with Served(tmp_path, *words) as run:
        run.initialize()
        until(lambda: "several clients may share it" in run.said(), "it is told")
    servers = write_servers(tmp_path, {"one": entry | {"isolate": {"roots": "read"}}})
    with Served(tmp_path, "--config", str(servers)) as run:
        assert run.process.wait() != 0
        assert "each would get the folders of the others" in run.said()


class _Recorded:
    """A recorded channel: a server's messages."""

    def __init__(self, *said: object) -> None:
        self.said = [json.dumps(each).encode() for each in said]

    def read(self) -> bytes | None:
        return self.said.pop(0) if self.said else None

    def write(self, frame: bytes) -> None:
        """Discard a frame."""

    def close(self) -> None:
        """Do nothing."""


def test_only_what_was_asked_for_is_heard() -> None:
    given: list[tuple[str, ...]] = []
    asked = {"where": {"method": "roots/list"}, "who": {"method": "elicitation/create"}}
    channel = RootsChannel(
        _Recorded(
            *({"id": number, "method": "roots/list"} for number in range(MOST_ASKED)),
            {"method": "notifications/tasks", "params": {"task": {"inputRequests": asked}}},
        ),
        given.append,
    )
    while channel.read() is not None:
        pass
    answer = {"roots": [{"uri": "file:///a"}]}
    nothing: list[Json] = [None, [], {}, {"roots": None}]
    for said in (
        {"id": "1", "result": answer},  # another id
        {"id": 0, "result": answer},  # forgotten
        {"id": 1, "method": "tools/call", "params": answer},
        {"id": 9, "method": "tools/call", "params": {"inputResponses": {"who": answer}}},
        {"id": 9, "method": "tools/call", "params": {"inputResponses": {"where": {}}}},
        {"id": 9, "method": "tools/call", "params": {"inputResponses": []}},
        {"id": 2, "error": {}},
        *({"id": 1, "result": result} for result in nothing),
        [{"id": 3, "result": answer}],
    ):
        channel.write(json.dumps(said).encode())
    channel.write(b"[" * 100_000)
    assert given == []
    odd: Object = {"roots": [1, {"uri": []}, {}]}
    for number, result in ((1, answer), (1, answer), (2, odd)):
        channel.write(json.dumps({"id": number, "result": result}).encode())
    params = {"taskId": "1", "inputResponses": {"where": answer}}
    channel.write(json.dumps({"id": 9, "method": "tasks/update", "params": params}).encode())
    assert given == [("file:///a",), (), ("file:///a",)]
