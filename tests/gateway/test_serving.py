"""`pipeguard serve` as its clients see it: real processes, over stdio and at an address."""

import http.client
import json
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import cast
from urllib.parse import urlsplit

import pytest

from pipeguard.launch.person import TOKEN_VARIABLE, new_token
from tests.forking import PIPEGUARD
from tests.gateway.served import (
    Served,
    ServedAt,
    actor,
    environment_of_state,
    text_of,
    write_servers,
)
from tests.launch.processes import until
from tests.wrap.deciding import decide
from tests.wrap.listening import Browser, sdk
from tests.wrap.wrapped import PYTHON, SERVER, SMALL_BACKLOG, Json, Object

pytestmark = pytest.mark.real
KEY = "ghp_" + "Z7QX4M2N5P6R3STV" * 2 + "abcd"


def serve(folder: Path, **servers: Object) -> Served:
    return Served(folder, "--config", str(write_servers(folder, servers)))


@pytest.mark.usefixtures("started")
def test_two_servers_answer_as_one_and_end_with_it(tmp_path: Path) -> None:
    def blocked() -> list[tuple[str, str]]:
        audit = subprocess.run(
            [*PIPEGUARD, "audit", "list", "--json"],
            env=environment_of_state(tmp_path),
            capture_output=True,
            check=True,
        )
        rows = json.loads(audit.stdout)
        return [(row["server"], row["tool"]) for row in rows if row["action"] == "block"]

    with serve(tmp_path, one=actor(), two=actor()) as client:
        assert '"name": "pipeguard"' in json.dumps(client.initialize())
        found = client.call("retrieve_tools", query="return its text")
        assert "one__echo(text: string)" in found
        assert "two__echo(text: string)" in found
        for name in ("one__echo", "two__echo"):
            given: Object = {"name": name, "arguments": {"text": f"hello {name}"}}
            assert client.call("call_tool_write", **given) == f"hello {name}"
        secret: Object = {"name": "one__echo", "arguments": {"text": f"key {KEY}"}}
        refused = client.ask("tools/call", name="call_tool_write", arguments=secret)["result"]
        assert isinstance(refused, dict)
        assert refused["isError"] is True
        assert KEY not in json.dumps(refused)
        if sys.platform == "linux":
            loaded = Path(f"/proc/{client.process.pid}/maps").read_text()
            assert "uvloop" in loaded
            assert "aiohttp" not in loaded
        last = client.request(
            "tools/call",
            name="call_tool_write",
            arguments={"name": "one__echo", "arguments": {"text": "last"}},
        )
        client.hang_up()
        assert text_of(client.answer(last)) == "last"
        assert client.code() == 0
        assert KEY not in client.said()
    assert blocked() == [("one", "echo")]


def test_edits_take_effect_and_a_wrong_one_changes_nothing(tmp_path: Path) -> None:
    with serve(tmp_path, one=actor()).opened() as client:
        assert "one__echo" in client.call("retrieve_tools", query="echo")
        before = client.running()
        write_servers(tmp_path, {"one": actor(), "two": actor()})
        until(lambda: "two__echo" in client.call("retrieve_tools", query="echo"), "two is there")
        assert set(before) <= set(client.running()), "what did not change goes on"
        (tmp_path / "pipeguard.yaml").write_text("servers:\n  one:\n    comand: x\n")
        until(lambda: "stay as they are" in client.said(), "the error is told")
        assert "line 3" in client.said()
        assert "command" in client.said()
        assert "two__echo" in client.call("retrieve_tools", query="echo")
        write_servers(tmp_path, {"two": actor()})
        until(lambda: "one__echo" not in client.call("retrieve_tools", query="echo"), "one is gone")
        assert client.said().count("the servers file is valid again") == 1
        missing: Object = {"name": "one__echo", "arguments": {"text": "x"}}
        assert "There is no tool" in client.call("call_tool_write", **missing)


def test_each_server_has_an_address_of_its_own(tmp_path: Path) -> None:
    config = write_servers(tmp_path, {"one": actor(), "two": actor()}, mode="direct")
    with ServedAt(tmp_path, "--config", str(config)) as served:
        plan: dict[str, object] = {"transport": "http", "mode": "legacy", "command": [], "env": {}}
        both = played({**plan, "url": served.url, "calls": [["two__echo", {"text": "hello"}]]})
        assert both["tools"] == ["one__echo", "two__echo"]
        assert '"text": "hello"' in json.dumps(both["results"])
        alone = {**plan, "url": served.at("/servers/two/mcp"), "calls": [["echo", {"text": "a"}]]}
        assert played(alone)["tools"] == ["echo"]
        events = {**plan, "transport": "sse", "url": served.at("/servers/two/sse"), "calls": []}
        assert played(events)["tools"] == ["echo"]
        listen = f"127.0.0.1:{urlsplit(served.url).port}"
        second = subprocess.run(
            [*PIPEGUARD, "serve", "--config", str(config), "--listen", listen],
            env=environment_of_state(tmp_path),
            capture_output=True,
            check=False,
        )
        assert second.returncode == 1
        assert f"--listen {listen}: " in second.stderr.decode()
        assert "already in use" in second.stderr.decode()


def test_a_token_is_needed_and_read_only_closes_addresses(tmp_path: Path) -> None:
    writer = tmp_path / "writer.py"
    writer.write_text(SERVER.read_text().replace('"Returns its text."', '"Writes a text to disk."'))
    entry: Object = {"command": PYTHON[0], "args": [*PYTHON[1:], str(writer)], "trust": "first-use"}
    config = write_servers(tmp_path, {"one": entry})
    options, token = ("--config", str(config), "--token-env", "AGENT"), "a-token-of-the-tests"
    with ServedAt(tmp_path, *options, "--read-only", AGENT=token) as served:
        for path in ("/mcp", "/servers/one/mcp", "/sse"):
            with Browser(served.at(path)).send("GET") as refused:
                assert refused.status == 401
        with client_of(served.at("/servers/one/sse"), token).send("GET") as refused:
            told = refused.read().decode()
            assert (refused.status, "the gateway is read-only: use /mcp" in told) == (403, True)
        call = "tools/call"
        query: Object = {"query": "write a text"}
        found = ask(served.url, token, call, name="retrieve_tools", arguments=query)
        assert "No tool matches" in found
        given: Object = {"name": "one__echo", "arguments": {"text": "x"}}
        called = ask(served.url, token, call, name="call_tool_write", arguments=given)
        assert "There is no tool" in called


def test_readiness_says_how_many_servers_cannot_be_used(tmp_path: Path) -> None:
    missing: Object = {"command": str(tmp_path / "nowhere"), "trust": "first-use"}
    stopped = tmp_path / "stopped"
    silent: Object = {
        "command": "sh",
        "args": ["-c", f"while [ ! -e {stopped} ]; do sleep 0.1; done"],
    }
    config = write_servers(tmp_path, {"one": actor(), "gone": missing, "silent": silent})

    def readiness() -> str:
        with Browser(served.url).send("GET", path="/readyz") as answer:
            return answer.read().decode()

    with ServedAt(tmp_path, "--config", str(config)) as served:
        told = "not ready\n1 of 3 servers is starting; 1 of 3 servers is down"
        until(lambda: readiness().startswith(told), "the others have started, or failed to")
        stopped.touch()
        until(lambda: readiness().startswith("ok\n2 of 3 servers are down"), "each has")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows limits no file's size")
def test_a_client_is_told_once_that_rows_of_the_audit_are_lost(tmp_path: Path) -> None:
    import resource

    config = str(write_servers(tmp_path, {"one": actor(), "two": actor()}))
    with Served(tmp_path, "--config", config, pipeguard=SMALL_BACKLOG).opened(
        "2025-06-18"
    ) as client:
        client.call("call_tool_write", name="one__echo", arguments={"text": "a"})
        log = client.store.with_name("pipeguard.db-wal")
        until(log.exists, "it is written")
        size = log.stat().st_size
        resource.prlimit(client.process.pid, resource.RLIMIT_FSIZE, (size, size))
        client.call("call_tool_write", name="one__echo", arguments={"text": "b"})
        until(lambda: "the store cannot be written" in client.said(), "it is noticed")
        for number in range(60):
            server = "one" if number % 2 else "two"
            client.call("call_tool_write", name=f"{server}__echo", arguments={"text": "c"})
        client.ask("ping")
        notices = [each for each in client.seen if each.get("method") == "notifications/message"]
        assert len(notices) == 1
        assert "audit" in str(notices[0]["params"])


def test_a_stored_token_finds_what_it_may_use_until_it_is_revoked(tmp_path: Path) -> None:
    config = write_servers(tmp_path, {"one": actor(), "two": actor()}, mode="direct")
    person = {**environment_of_state(tmp_path), TOKEN_VARIABLE: new_token()[0]}

    def tokens(*words: str) -> str:
        done = subprocess.run(
            [*PIPEGUARD, "tokens", *words], env=person, capture_output=True, check=True
        )
        return done.stdout.decode().strip()

    token = tokens("create", "ci", "--server", "two")
    figures = {"OTEL_METRICS_EXPORTER": "prometheus"}
    with ServedAt(tmp_path, "--config", str(config), **figures) as served:
        assert status(served.url) == 401
        with client_of(served.url, "wrong").send("POST", {}) as refused:
            assert b"is not valid" in refused.read()
        listed = ask(served.url, token)
        assert "two__echo" in listed
        assert "one__echo" not in listed
        assert "echo" in ask(served.at("/servers/two/mcp"), token)
        given: Object = {"text": "hello"}
        assert "hello" in ask(served.url, token, "tools/call", name="two__echo", arguments=given)
        assert status(served.at("/servers/one/mcp"), token) == 404
        with client_of(served.url, token).send("GET", path="/metrics") as limited:
            assert (limited.status, b"without limits" in limited.read()) == (403, True)
        tokens("revoke", "ci")
        assert status(served.url, token) == 401
    audit = subprocess.run(
        [*PIPEGUARD, "audit", "list", "--json"], env=person, capture_output=True, check=True
    )
    rows = json.loads(audit.stdout)
    calls = [row for row in rows if row["method"] == "tools/call"]
    assert {(row["client"], row["token"]) for row in calls} == {("tests 1", "ci")}
    asked, answered = calls
    assert (asked["request_bytes"], asked["duration_ms"]) == (None, None)
    assert answered["request_bytes"] == asked["frame_bytes"]
    assert answered["duration_ms"] > 0
    decided = [row["action"] for row in rows if row["kind"] == "approval"]
    assert decided == ["create", "revoke"]
    assert len({row["event"] for row in rows if row["event"]}) == len(rows) - len(decided)
    refused_for = [row["findings"][0]["rule"] for row in rows if row["kind"] == "refusal"]
    reasons = ["entrance.wrong-token", "entrance.scope"]
    assert refused_for == reasons * 2  # the first of a kind at once, the rest together at the end


def test_the_first_token_is_asked_for_at_once_in_open_sessions_too(tmp_path: Path) -> None:
    config = write_servers(tmp_path, {"one": actor()}, mode="direct")
    with ServedAt(tmp_path, "--config", str(config)) as served:
        client = client_of(served.url).open()
        asked: Object = {"jsonrpc": "2.0", "id": 2, "method": "tools/list"}
        assert "one__echo" in json.dumps(client.post(asked))
        with client.send("GET", path="/sse") as stream:
            assert stream.readline().startswith(b"event: endpoint")
            create = ("tokens", "create", "ci")
            _, made = decide(tmp_path / "state", *create, stderr=subprocess.DEVNULL)
            token = made.strip()
            assert client.post(asked)[0] == 401
            with suppress(http.client.IncompleteRead):  # the gateway hangs up
                stream.read()
        assert "one__echo" in ask(served.url, token)
        client.headers["Authorization"] = f"Bearer {token}"
        assert "one__echo" not in json.dumps(client.post(asked))


@pytest.mark.parametrize(("mode", "why"), [(0o600, "line 1"), (0o666, "chmod go-w")])
def test_a_wrong_file_is_told_to_client_and_terminal(tmp_path: Path, mode: int, why: str) -> None:
    path = tmp_path / "pipeguard.yaml"
    path.write_text("servers: [")
    path.chmod(mode)
    with Served(tmp_path, "--config", str(path)) as client:
        answer = client.ask("initialize", protocolVersion="2025-06-18", capabilities={})
        assert "error" in answer
        client.hang_up()
        assert client.code() == 2
        assert why in client.said()


def client_of(url: str, token: str = "none") -> Browser:
    return Browser(url, Authorization=f"Bearer {token}")


def status(url: str, token: str = "none") -> int:
    return client_of(url, token).post({"jsonrpc": "2.0", "id": 1, "method": "ping"})[0]


def ask(url: str, token: str, method: str = "tools/list", **params: Json) -> str:
    """Send a request in a new session; return the result."""
    return json.dumps(client_of(url, token).open().ask(method, **params))


def played(plan: dict[str, object]) -> dict[str, list[object]]:
    """Play a plan with the official Python SDK."""
    return cast("dict[str, list[object]]", sdk(Path("/"), plan))
