"""A call waits until a person decides, over every transport, and is answered once or sent once."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager, suppress
from http.client import HTTPConnection
from pathlib import Path
from time import monotonic, sleep
from typing import NamedTuple
from urllib.parse import urlsplit

import pytest

from pipeguard.firewall.session.lifecycle import MAX_HELD, MAX_HELD_BYTES
from pipeguard.state.audit import AuditFilter, rows
from pipeguard.state.store import open_store
from tests.gateway.served import Served, ServedAt, actor, write_servers
from tests.launch.processes import PATIENCE_SECONDS, until
from tests.wrap.deciding import decide
from tests.wrap.listening import Browser, Listening, messages, sdk
from tests.wrap.server import KEY
from tests.wrap.wrapped import GONE, PYTHON, SERVER, Object, Wrapped, error_code, processes, result

ASKING = "actions: [{rule: 'secrets.*', place: call.arguments, action: ask}]\nlimits: {ask: %s}\n"


@pytest.fixture(autouse=True)
def policy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "policy.yaml"
    path.write_text(ASKING % "50 s")
    path.chmod(0o600)
    monkeypatch.setenv("PIPEGUARD_POLICY", str(path))
    return path


# --- clients ----------------------------------------------------------------------------


class _Asked(NamedTuple):
    """A pending call over stdio."""

    wrapped: Wrapped
    number: int

    def __call__(self) -> Object:
        """Wait for the answer."""
        return self.wrapped.answer(self.number)


class _OnPipes:
    """A client over stdio. Every call of it may wait while it asks others."""

    def __init__(self, wrapped: Wrapped) -> None:
        self.wrapped = wrapped
        wrapped.initialize()
        self.ask = wrapped.ask
        self.tool = only_tool(self.ask("tools/list"))

    def begin(self, text: str = KEY) -> _Asked:
        """Call the tool."""
        sent = self.wrapped.request("tools/call", name=self.tool, arguments={"text": text})
        return _Asked(self.wrapped, sent)

    def cancel(self, begun: Begun) -> None:
        """Cancel a call, which is not answered then."""
        self.wrapped.send(cancellation(begun.number))
        assert passes(call(self, "hello"))
        assert begun.number not in [frame.get("id") for frame in self.wrapped.seen]


class _Posted(NamedTuple):
    """A pending call over HTTP: a POST."""

    connection: HTTPConnection
    number: int

    def __call__(self) -> Object:
        """Wait for the answer, the only one."""
        (answer,) = [message for message in self.messages() if "id" in message]
        assert answer["id"] == self.number
        return answer

    def messages(self) -> list[Object]:
        with closing(self.connection), self.connection.getresponse() as response:
            assert response.status == 200, response.read()
            return messages(response)


class _OverHttp:
    """A client of Streamable HTTP, of a process that ends on a signal."""

    def __init__(self, url: str, process: subprocess.Popen[bytes]) -> None:
        self.process = process
        self.url = url
        self.browser = Browser(url)
        self.browser.open()
        self.ask = self.browser.ask
        self.tool = only_tool(self.ask("tools/list"))
        self._number = 1000

    def begin(self, text: str = KEY) -> _Posted:
        """Call the tool."""
        self._number += 1
        message: Object = {"jsonrpc": "2.0", "id": self._number, "method": "tools/call"}
        message["params"] = {"name": self.tool, "arguments": {"text": text}}
        connection = self.browser.connect()
        connection.request(
            "POST", urlsplit(self.url).path, json.dumps(message), self.browser.headers
        )
        return _Posted(connection, self._number)

    def cancel(self, begun: Begun) -> None:
        """Cancel a call, which is not answered then."""
        assert isinstance(begun, _Posted)
        assert self.browser.post(cancellation(begun.number))[0] == 202
        assert begun.messages() == []


def cancellation(number: int) -> Object:
    params: Object = {"requestId": number}
    return {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": params}


Begun = _Asked | _Posted
Client = _OnPipes | _OverHttp
Opens = Callable[[Path], AbstractContextManager[Client]]
OpensHttp = Callable[[Path], AbstractContextManager[_OverHttp]]


def only_tool(answer: Object) -> str:
    tools = result(answer)["tools"]
    assert isinstance(tools, list)
    (name,) = [str(tool["name"]) for tool in tools if isinstance(tool, dict)]
    return name


def call(client: Client, text: str) -> Object:
    return client.ask("tools/call", name=client.tool, arguments={"text": text})


# --- what they speak to -----------------------------------------------------------------


def server(folder: Path) -> list[str]:
    """The tests' server, which records its input."""
    return [*PYTHON, str(SERVER), f"heard={folder / 'heard'}"]


def heard(folder: Path) -> int:
    """Count how often the server was asked for the call that must wait."""
    return (folder / "heard").read_bytes().count(KEY.encode())


def servers(folder: Path, tools: Object | None = None) -> tuple[str, str]:
    entry = actor(f"heard={folder / 'heard'}", tools=tools or {})
    return "--config", str(write_servers(folder, {"one": entry}, mode="direct"))


@contextmanager
def over_stdio(folder: Path) -> Iterator[_OnPipes]:
    with Wrapped(folder, command=server(folder)) as wrapped:
        yield _OnPipes(wrapped)


@contextmanager
def in_gateway(folder: Path) -> Iterator[_OnPipes]:
    with Served(folder, *servers(folder)) as served:
        yield _OnPipes(served)


@contextmanager
def over_http(folder: Path) -> Iterator[_OverHttp]:
    with Listening(folder, (), server(folder)) as at:
        yield _OverHttp(at.url, at.process)


@contextmanager
def upstream(folder: Path) -> Iterator[Listening]:
    """A server of Streamable HTTP: another PipeGuard, which lets everything pass."""
    above = folder / "above"
    above.mkdir()
    policy = above / "policy.yaml"
    policy.write_text("actions: [{rule: '*', action: allow}]\n")
    policy.chmod(0o600)
    with Listening(above, ("--policy", str(policy)), server(folder)) as behind:
        yield behind


@contextmanager
def over_relay(folder: Path) -> Iterator[_OverHttp]:
    with upstream(folder) as behind, Listening(folder, ("--upstream", behind.url)) as at:
        yield _OverHttp(at.url, at.process)


@contextmanager
def at_gateway(folder: Path) -> Iterator[_OverHttp]:
    with ServedAt(folder, *servers(folder)) as served:
        yield _OverHttp(served.url, served.process)


@contextmanager
def at_server_of_gateway(folder: Path) -> Iterator[_OverHttp]:
    """Its own address, at which the tool has another name."""
    tools: Object = {"overrides": {"echo": {"name": "say"}}}
    with ServedAt(folder, *servers(folder, tools=tools)) as served:
        yield _OverHttp(served.at("/servers/one/mcp"), served.process)


HTTP = [over_http, over_relay, at_gateway, at_server_of_gateway]
EVERYWHERE = pytest.mark.parametrize("opens", [over_stdio, in_gateway, *HTTP])
OVER_HTTP = pytest.mark.parametrize("opens", HTTP)


# --- decisions --------------------------------------------------------------------------


def entries(folder: Path, action: str) -> list[str]:
    """The events with an action, the newest first."""
    store = folder / "state" / "pipeguard.db"
    if not store.exists():
        return []
    with open_store(store) as opened:
        return [row.entry.event for row in rows(opened, AuditFilter(action=action))]


def waits(folder: Path, count: int = 1) -> str:
    """The event of the latest call, once so many wait."""
    until(lambda: len(entries(folder, "ask")) >= count, "it is written")
    return entries(folder, "ask")[0]


def allow(folder: Path, event: str) -> None:
    words = ("allow", event, "--by", "call", "--why", "a test")
    code, shown = decide(folder / "state", *words)
    assert code == 0, shown
    assert "If the call still waits" in shown


def status(folder: Path) -> str:
    return decide(folder / "state", "status")[1]


def passes(answer: Object) -> bool:
    return "result" in answer and "isError" not in result(answer)


def event_of(answer: Object) -> str:
    """The event that stopped a call."""
    outcome = result(answer)
    assert outcome.get("isError") is True, answer
    meta = outcome["_meta"]
    assert isinstance(meta, dict)
    told = meta["pipeguard"]
    assert isinstance(told, dict)
    return str(told["event"])


def why(folder: Path, event: str) -> str:
    until(lambda: decide(folder / "state", "explain", event)[0] == 0, "it is written")
    return decide(folder / "state", "explain", event)[1]


# --- tests ------------------------------------------------------------------------------


@pytest.mark.often("over_stdio", "in_gateway", "over_relay", "at_server_of_gateway")
@EVERYWHERE
def test_a_call_waits_until_a_person_decides(tmp_path: Path, opens: Opens) -> None:
    with opens(tmp_path) as client:
        answer = client.begin()
        event = waits(tmp_path)
        assert f"waits for you:  pipeguard allow {event}" in status(tmp_path)
        assert passes(call(client, "hello")), "it holds up no other call"
        assert heard(tmp_path) == 0
        allow(tmp_path, event)
        assert passes(answer())
        assert heard(tmp_path) == 1
        until(lambda: event not in status(tmp_path), "it is over")


@pytest.mark.often("over_http")
@EVERYWHERE
def test_a_call_that_nobody_decides_about_is_blocked(
    tmp_path: Path, policy: Path, opens: Opens
) -> None:
    policy.write_text(ASKING % "1 s")
    with opens(tmp_path) as client:
        began = monotonic()
        answer = call(client, KEY)
        event = event_of(answer)
        assert "Nobody allowed it within 1 s." in str(answer)
        assert monotonic() - began >= 1.0
        assert f"nobody allowed it within 1 s while it waited as event {waits(tmp_path)}" in why(
            tmp_path, event
        )
        assert passes(call(client, "hello"))
        assert heard(tmp_path) == 0


@pytest.mark.often("in_gateway")
@EVERYWHERE
def test_a_call_that_waits_is_judged_again_once_the_policy_changes(
    tmp_path: Path, policy: Path, opens: Opens
) -> None:
    with opens(tmp_path) as client:
        answer = client.begin()
        waits(tmp_path)
        policy.write_text("# nothing is asked\n")
        assert "nobody allowed" not in why(tmp_path, event_of(answer()))
        assert heard(tmp_path) == 0


@pytest.mark.often("at_gateway")
@EVERYWHERE
def test_the_answers_time_begins_with_the_call(tmp_path: Path, policy: Path, opens: Opens) -> None:
    policy.write_text(policy.read_text().replace("{ask", "{timeout: 4 s, ask"))
    with opens(tmp_path) as client:
        answer, began = client.begin(), monotonic()
        event = waits(tmp_path)
        until(lambda: monotonic() - began > 5.0, "it has waited for longer")
        allow(tmp_path, event)
        assert passes(answer())


@pytest.mark.often("over_stdio")
@pytest.mark.parametrize("opens", [over_stdio, over_http, at_gateway])
def test_of_two_calls_alike_one_grant_lets_one_go_on_and_the_other_waits_no_longer_for_it(
    tmp_path: Path, policy: Path, opens: Opens
) -> None:
    policy.write_text(ASKING % "6 s")
    with opens(tmp_path) as client:
        began = monotonic()
        answers = client.begin(), client.begin()
        allow(tmp_path, waits(tmp_path, 2))
        assert sorted(passes(answer()) for answer in answers) == [False, True]
        assert 6.0 <= monotonic() - began < 10.0
        assert heard(tmp_path) == 1
        assert "holds up an agent" not in status(tmp_path)


def test_of_two_processes_one_has_the_grant(tmp_path: Path, policy: Path) -> None:
    policy.write_text(ASKING % "8 s")
    with over_stdio(tmp_path) as one, over_http(tmp_path) as other:
        answers = one.begin(), other.begin()
        allow(tmp_path, waits(tmp_path, 2))
        assert sorted(passes(answer()) for answer in answers) == [False, True]
        assert heard(tmp_path) == 1


@pytest.mark.often("over_http")
@pytest.mark.parametrize("opens", [over_stdio, over_http, over_relay])
def test_a_grant_is_for_the_tool_as_it_was(tmp_path: Path, opens: Opens) -> None:
    with opens(tmp_path) as client:
        answer = client.begin()
        event = waits(tmp_path)
        client.ask("do/describe", text="Another tool.")
        client.ask("tools/list")
        allow(tmp_path, event)
        assert not passes(answer())
        assert heard(tmp_path) == 0


@pytest.mark.often("over_http")
@pytest.mark.parametrize("opens", [over_stdio, *HTTP])
def test_a_large_call_waits_as_well(tmp_path: Path, opens: Opens) -> None:
    text = f"{'word ' * 100_000}{KEY}"
    with opens(tmp_path) as client:
        answer = client.begin(text)
        event = waits(tmp_path)
        assert passes(call(client, "hello"))
        allow(tmp_path, event)
        assert passes(answer())
        assert heard(tmp_path) == 1


# --- nobody waits any more --------------------------------------------------------------


@pytest.mark.often("over_relay", "at_gateway")
@EVERYWHERE
def test_a_call_that_is_cancelled_is_forgotten(tmp_path: Path, opens: Opens) -> None:
    with opens(tmp_path) as client:
        begun = client.begin()
        event = waits(tmp_path)
        client.cancel(begun)
        assert_ended(tmp_path, event)
        assert_never_sent(tmp_path, client, event)


@pytest.mark.often("drop-at_gateway", "delete-over_http")
@OVER_HTTP
@pytest.mark.parametrize("how", ["drop", "delete"])
def test_a_call_is_forgotten_when_its_client_or_its_session_is_gone(
    tmp_path: Path, opens: OpensHttp, how: str
) -> None:
    with opens(tmp_path) as client:
        posted = client.begin()
        event = waits(tmp_path)
        if how == "drop":
            posted.connection.close()
        else:
            with client.browser.send("DELETE") as response:
                assert response.status == 204
            assert not passes(posted())
        assert_ended(tmp_path, event)
        assert_never_sent(tmp_path, _OverHttp(client.url, client.process), event)


def assert_ended(folder: Path, event: str) -> None:
    """A call waits no more, and the audit says so."""
    until(lambda: event not in status(folder), "it waits no more")
    assert f"while it waited as event {event}" in why(folder, entries(folder, "block")[0])


def assert_never_sent(folder: Path, client: Client, event: str) -> None:
    """Allow a call: the next like it uses the grant, so that the first did not."""
    assert heard(folder) == 0
    allow(folder, event)
    assert passes(call(client, KEY))
    assert heard(folder) == 1


@pytest.mark.often("over_stdio", "at_gateway")
@pytest.mark.parametrize("opens", [over_stdio, in_gateway, over_http, at_gateway])
def test_a_call_is_answered_once_when_its_server_dies(tmp_path: Path, opens: Opens) -> None:
    with opens(tmp_path) as client:
        answer, began = client.begin(), monotonic()
        event = waits(tmp_path)
        for process in processes():
            with suppress(FileNotFoundError):  # it has ended meanwhile
                words = Path(f"/proc/{process}/cmdline").read_bytes()
                if words.startswith("\0".join(server(tmp_path)).encode()):
                    os.kill(process, signal.SIGKILL)
        assert not passes(answer())
        assert monotonic() - began < 20.0
        until(lambda: event not in status(tmp_path), "it waits no more")
        assert heard(tmp_path) == 0


@pytest.mark.often("over_http")
@OVER_HTTP
def test_a_signal_to_the_listener_answers_a_call_once(tmp_path: Path, opens: OpensHttp) -> None:
    with opens(tmp_path) as client:
        posted = client.begin()
        event = waits(tmp_path)
        client.process.send_signal(signal.SIGTERM)
        assert not passes(posted())
        assert client.process.wait(PATIENCE_SECONDS) == 0
        assert event not in status(tmp_path)
        assert heard(tmp_path) == 0


@pytest.mark.often("hang up-over_stdio", "signal-in_gateway")
@pytest.mark.parametrize("opens", [over_stdio, in_gateway])
@pytest.mark.parametrize("end", ["hang up", "signal"])
def test_a_call_is_answered_once_when_the_client_or_a_signal_ends_the_run(
    tmp_path: Path, opens: Callable[[Path], AbstractContextManager[_OnPipes]], end: str
) -> None:
    with opens(tmp_path) as client:
        asked = client.begin()
        event = waits(tmp_path)
        if end == "signal":
            client.wrapped.kill(signal.SIGTERM)
        else:
            client.wrapped.hang_up()
        frames = [*client.wrapped.seen, *client.wrapped.frames_to_the_end()]
        (answer,) = [frame for frame in frames if frame.get("id") == asked.number]
        assert not passes(answer)
        assert event not in status(tmp_path)
        assert heard(tmp_path) == 0


def test_calls_that_are_cancelled_while_they_are_judged_leave_nothing(
    tmp_path: Path, policy: Path
) -> None:
    policy.write_text(ASKING.replace("{ask: %s}", "{ask: 50 s, pending: 4}"))
    with in_gateway(tmp_path) as client:
        for number in range(32):  # some of them are cancelled in the thread that judges them
            begun = client.begin(f"{'word ' * 60_000} {number} {KEY if number % 2 else ''}")
            sleep(0.001 * number)
            client.wrapped.send(cancellation(begun.number))
        until(lambda: passes(call(client, "hello")), "nothing is open")
        until(lambda: "holds up an agent" not in status(tmp_path), "nothing waits")


# --- how many wait ----------------------------------------------------------------------


@pytest.mark.often("at_gateway")
@OVER_HTTP
def test_no_more_wait_than_a_listener_has_room_for(tmp_path: Path, opens: OpensHttp) -> None:
    with opens(tmp_path) as client:
        other = _OverHttp(client.url, client.process)
        large = "word " * (MAX_HELD_BYTES // 10)
        posted = [client.begin(f"{large} {KEY}")]
        waits(tmp_path)
        assert event_of(call(other, f"{large} {KEY}")), "bytes"
        posted += [each.begin() for each in ([client, other] * MAX_HELD)[: MAX_HELD - 1]]
        waits(tmp_path, MAX_HELD)
        assert event_of(call(other, KEY)), "calls"
        client.cancel(posted.pop(0))
        posted.append(other.begin())
        waits(tmp_path, MAX_HELD + 1)
        for each in posted:
            each.connection.close()


@pytest.mark.often("child")
@pytest.mark.parametrize("behind", ["child", "address"])
def test_a_session_in_which_a_call_waits_is_in_use(tmp_path: Path, behind: str) -> None:
    limits = ("--max-sessions", "1", "--idle-timeout", "0.01")
    with ExitStack() as stack:
        if behind == "child":
            at = stack.enter_context(Listening(tmp_path, limits, server(tmp_path)))
        else:
            url = stack.enter_context(upstream(tmp_path)).url
            at = stack.enter_context(Listening(tmp_path, (*limits, "--upstream", url)))
        client = _OverHttp(at.url, at.process)
        posted = client.begin()
        event = waits(tmp_path)
        with suppress(AssertionError):  # there is no room for another session
            _OverHttp(at.url, at.process)
        client.cancel(posted)
        until(lambda: event not in status(tmp_path), "it waits no more")


# --- official clients -------------------------------------------------------------------


@pytest.mark.often("over_relay-auto")
@pytest.mark.parametrize("mode", ["auto", "legacy"])
@pytest.mark.parametrize("opens", [over_http, over_relay, at_gateway])
def test_a_call_of_the_official_sdk_waits(tmp_path: Path, opens: OpensHttp, mode: str) -> None:
    with opens(tmp_path) as client, ThreadPoolExecutor(1) as pool:
        calls = [[client.tool, {"text": KEY}], [client.tool, {"text": "hello"}]]
        told = pool.submit(sdk, tmp_path, {"url": client.url, "mode": mode, "calls": calls})
        allow(tmp_path, waits(tmp_path))
        results = told.result(PATIENCE_SECONDS)["results"]
        assert isinstance(results, list)
        assert [each["isError"] for each in results if isinstance(each, dict)] == [False, False]
        assert heard(tmp_path) == 1


def test_a_call_over_http_and_sse_waits(tmp_path: Path) -> None:
    with Listening(tmp_path, (), server(tmp_path)) as at, ThreadPoolExecutor(1) as pool:
        url = at.url.removesuffix("/mcp") + "/sse"
        plan = {"transport": "sse", "url": url, "mode": "legacy"}
        told = pool.submit(sdk, tmp_path, {**plan, "calls": [["echo", {"text": KEY}]]})
        allow(tmp_path, waits(tmp_path))
        assert "'isError': False" in str(told.result(PATIENCE_SECONDS)["results"])
        assert heard(tmp_path) == 1


def test_a_granted_call_is_answered_though_the_server_reads_no_more(tmp_path: Path) -> None:
    with over_stdio(tmp_path) as client:
        answer = client.begin()
        event = waits(tmp_path)
        client.wrapped.request("do/close-stdin", text=str(tmp_path / "never"))
        allow(tmp_path, event)
        assert error_code(answer()) == GONE
