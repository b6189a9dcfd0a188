"""The user is asked in the result of a call that waits, which the client then repeats.

Source: MCP 2026-07-28, basic/patterns/mrtr.
"""

import asyncio
import json
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path
from time import monotonic

import aiohttp
import pytest
from yarl import URL

from pipeguard.runtime.questions import ALLOW, REFUSE
from pipeguard.state.audit import AuditFilter, rows
from pipeguard.state.store import open_store
from tests.forking import PIPEGUARD
from tests.gateway.served import ServedAt, actor, write_servers
from tests.launch.processes import PATIENCE_SECONDS, until
from tests.wrap.deciding import decide
from tests.wrap.listening import Browser, Listening, sdk
from tests.wrap.server import KEY
from tests.wrap.test_questions import ADDRESS, FORM, heard, page, params, policy
from tests.wrap.test_waiting import allow, entries, passes, status, waits, why
from tests.wrap.wrapped import PYTHON, SERVER, Json, Object, Wrapped, result

Plan = dict[str, object]
Opens = Callable[..., AbstractContextManager[Plan]]
PREFIX = "io.modelcontextprotocol/"
BOTH: Object = {"elicitation": {"form": {}, "url": {}}}
META: Object = {f"{PREFIX}protocolVersion": "2026-07-28", f"{PREFIX}clientCapabilities": BOTH}
URLS = FORM.replace("ask_in_client: form\n", "")


# --- the official SDK, over each transport ------------------------------------------------------


def server(folder: Path, *words: str) -> list[str]:
    return [*PYTHON, str(SERVER), f"heard={folder / 'heard'}", *words]


def headers(tool: str) -> dict[str, str]:
    names = {"Mcp-Method": "tools/call", "Mcp-Name": tool}
    return {"MCP-Protocol-Version": "2026-07-28", **names}


@contextmanager
def over_stdio(folder: Path, *words: str, mode: str = "auto") -> Iterator[Plan]:
    command = [*PIPEGUARD, "wrap", "--", *server(folder, *(words or ["stateless"]))]
    plan = {"transport": "stdio", "command": command, "env": dict(os.environ)}
    yield {**plan, "mode": mode, "tool": "echo"}


@contextmanager
def over_http(folder: Path, *words: str, mode: str = "auto") -> Iterator[Plan]:
    with Listening(folder, (), server(folder, *(words or ["stateless"]))) as at:
        yield {"url": at.url, "mode": mode, "tool": "echo"}


@contextmanager
def at_gateway(folder: Path, *words: str, mode: str = "auto") -> Iterator[Plan]:
    entry = actor(f"heard={folder / 'heard'}", *words)
    path = write_servers(folder, {"one": entry}, mode="direct")
    with ServedAt(folder, "--config", str(path)) as served:
        yield {"url": served.url, "mode": mode, "tool": "one__echo"}


class SocketClient:
    """A client of WebSocket."""

    async def open(self, http: aiohttp.ClientSession, url: str) -> None:
        address = url.replace("http", "ws", 1)
        self._socket = await http.ws_connect(address, protocols=["mcp"])

    async def ask(self, message: Object) -> Object:
        await self._socket.send_json(message)
        answer: Object = await self._socket.receive_json(timeout=PATIENCE_SECONDS)
        return answer

    async def close(self) -> None:
        await self._socket.close()


class StreamClient:
    """A client of HTTP+SSE."""

    async def open(self, http: aiohttp.ClientSession, url: str) -> None:
        self._http, self._stream = http, await http.get(url.replace("/mcp", "/sse"))
        self._address = self._stream.url.join(URL(await self._read()))

    async def ask(self, message: Object) -> Object:
        (await self._http.post(self._address, json=message)).raise_for_status()
        answer: Object = json.loads(await self._read())
        return answer

    async def close(self) -> None:
        self._stream.close()

    async def _read(self) -> str:
        while not (line := await self._stream.content.readline()).startswith(b"data:"):
            assert line, "the stream ended"
        return line.decode()[5:].strip()


async def decide_over(kind: type[SocketClient | StreamClient], plan: Plan) -> bool:
    """True if a waiting call is forwarded once it is repeated with the answer."""
    call: Object = {"name": str(plan["tool"]), "arguments": {"text": KEY}, "_meta": META}
    message: Object = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": call}
    async with aiohttp.ClientSession() as http:
        client = kind()
        await client.open(http, str(plan["url"]))
        asked = result(await client.ask(message))
        assert isinstance(asked["inputRequests"], dict)
        given: Object = dict.fromkeys(asked["inputRequests"], answers(ALLOW)["pipeguard"])
        call |= {"requestState": asked["requestState"], "inputResponses": given}
        told = await client.ask({**message, "id": 2})
        await client.close()
    return passes(told)


@pytest.mark.often("over_http-StreamClient", "at_gateway-SocketClient")
@pytest.mark.usefixtures("asking")
@pytest.mark.parametrize("kind", [SocketClient, StreamClient])
@pytest.mark.parametrize("opens", [over_http, at_gateway])
def test_a_result_asks_over_the_other_transports(
    tmp_path: Path, kind: type[SocketClient | StreamClient], opens: Opens
) -> None:
    """HTTP+SSE is older than the revision; a client that speaks both is asked all the same."""
    with opens(tmp_path) as plan:
        assert asyncio.run(decide_over(kind, plan))
    assert heard(tmp_path).count(KEY) == 1


def ask_sdk(
    folder: Path, plan: Plan, text: str, *choices: str
) -> tuple[list[Object], list[Object]]:
    """The questions about calls of the SDK's, one for each choice, and their outcomes."""
    calls = [[plan["tool"], {"text": f"{text} {choice}"}] for choice in choices]
    elicits = [
        {"action": "accept", "content": {"decision": choice} if choice else None}
        for choice in choices
    ]
    told = sdk(folder, {"mode": "auto", **plan, "calls": calls, "elicits": elicits})
    asked, outcomes = told["asked"], told["results"]
    assert isinstance(asked, list)
    assert isinstance(outcomes, list)
    return [one for one in asked if isinstance(one, dict)], [
        one for one in outcomes if isinstance(one, dict)
    ]


@pytest.fixture
def asking(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in policy(tmp_path, FORM).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("PIPEGUARD_STATE_DIR", str(tmp_path / "state"))


@pytest.mark.often("over_stdio-auto", "over_http-legacy legacy", "at_gateway-stateless auto")
@pytest.mark.usefixtures("asking")
@pytest.mark.parametrize(
    ("opens", "words"),
    [
        (over_stdio, "auto"),
        (over_http, "auto"),
        (at_gateway, "auto"),
        (at_gateway, "both auto"),
        (at_gateway, "stateless auto"),
        (at_gateway, "stateless legacy"),
        (over_stdio, "legacy legacy"),
        (over_http, "legacy legacy"),
        (at_gateway, "legacy"),
    ],
)
def test_a_user_of_the_official_sdk_decides(tmp_path: Path, opens: Opens, words: str) -> None:
    *kinds, mode = words.split()
    with opens(tmp_path, *kinds, mode=mode) as plan:
        asked, outcomes = ask_sdk(tmp_path, plan, KEY, REFUSE, ALLOW)
        assert len(asked) == 2
        assert [one["isError"] for one in outcomes] == [True, False]
        assert heard(tmp_path).count(KEY) == 1
        assert f"{KEY} {ALLOW}" in heard(tmp_path)
    assert "decision" not in heard(tmp_path)
    assert "requestState" not in heard(tmp_path)


@pytest.mark.usefixtures("asking")
def test_a_server_that_uses_our_names_is_answered_what_it_asked(tmp_path: Path) -> None:
    with over_stdio(tmp_path) as plan:
        asked, (outcome,) = ask_sdk(tmp_path, plan, f"ask {KEY}", ALLOW)
    assert [str(question["message"])[:10] for question in asked] == [
        "The agent ",
        "Which one?",
        "The agent ",  # about another call: the one with the answer
    ]
    *_, last = map(json.loads, heard(tmp_path).splitlines())
    given = last["params"]
    assert given["requestState"] == "pipeguard-theirs"
    assert given["inputResponses"]["pipeguard"]["content"] == {"decision": ALLOW}
    assert outcome["isError"] is False


@pytest.mark.often("at_gateway-stateless legacy")
@pytest.mark.usefixtures("asking")
@pytest.mark.parametrize(
    ("opens", "words"),
    [
        (over_stdio, "auto"),
        (over_http, "auto"),
        (at_gateway, "auto"),
        (at_gateway, "stateless auto"),
        (at_gateway, "stateless legacy"),
    ],
)
def test_a_user_of_the_official_sdk_is_shown_a_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, opens: Opens, words: str
) -> None:
    policy(tmp_path, URLS.replace("10 s", "50 s"))
    *kinds, mode = words.split()
    at = opens(tmp_path, *kinds, mode=mode)
    with at as plan, page(tmp_path, monkeypatch), ThreadPoolExecutor(1) as pool:
        telling = pool.submit(ask_sdk, tmp_path, plan, KEY, "")
        event = waits(tmp_path)
        allow(tmp_path, event)
        asked, (outcome,) = telling.result()
    (question,) = asked
    assert question["url"] == f"{ADDRESS}/#{event}"
    assert "elicitationId" in question or plan.get("mode") != "legacy", "2025-11-25 needs one"
    assert outcome["isError"] is False
    assert heard(tmp_path).count(KEY) == 1


@pytest.mark.usefixtures("asking")
def test_the_question_of_another_pipeguard_behind_this_one_is_declined(tmp_path: Path) -> None:
    with (
        Listening(tmp_path, (), server(tmp_path, "stateless")) as behind,
        Listening(tmp_path, ("--upstream", behind.url)) as at,
    ):
        asked, (outcome,) = ask_sdk(tmp_path, {"url": at.url, "tool": "echo"}, KEY, ALLOW)
    assert len(asked) == 1, "by this one, about the call"
    assert outcome["isError"] is True
    assert KEY not in heard(tmp_path)


@pytest.mark.usefixtures("asking")
def test_a_state_is_for_the_client_of_one_token(tmp_path: Path) -> None:
    tokens = {"ANN": "a" * 16, "BOB": "b" * 16}
    options = ("--token-env", "ann=ANN", "--token-env", "bob=BOB")
    call: Object = {"name": "echo", "arguments": {"text": KEY}, "_meta": META}
    with Listening(tmp_path, options, server(tmp_path, "stateless"), tokens) as at:
        ann, bob = (
            Browser(at.url, **headers("echo"), Authorization=f"Bearer {token}")
            for token in tokens.values()
        )
        asked = result(ann.ask("tools/call", **call))
        call |= {"inputResponses": answers(ALLOW), "requestState": asked["requestState"]}
        message: Object = {"jsonrpc": "2.0", "id": 9, "method": "tools/call", "params": call}
        assert "belongs to no call that waits" in str(bob.post(message))
        assert passes(ann.ask("tools/call", **call))
    assert heard(tmp_path).count(KEY) == 1


@pytest.mark.usefixtures("asking")
def test_progress_is_of_the_request_that_repeats_a_call(tmp_path: Path) -> None:
    with at_gateway(tmp_path) as plan:
        meta: Object = {**META, "progressToken": "first"}
        call: Object = {"name": "one__echo", "arguments": {"text": f"progress {KEY}"}}
        one = Browser(str(plan["url"]), **headers("one__echo"))
        asked = result(one.ask("tools/call", **call, _meta=meta))
        requests = asked["inputRequests"]
        assert isinstance(requests, dict)
        given: Object = dict.fromkeys(requests, answers(ALLOW)["pipeguard"])
        call |= {"requestState": asked["requestState"], "inputResponses": given}
        call["_meta"] = {**META, "progressToken": "second"}
        message: Object = {"jsonrpc": "2.0", "id": 9, "method": "tools/call", "params": call}
        (progress, answer) = one.post(message)[1]
        assert params(progress)["progressToken"] == "second"
        assert passes(answer)


def test_nobody_is_asked_in_vain_about_a_call_that_was_answered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in policy(tmp_path, "").items():
        monkeypatch.setenv(name, value)
    with at_gateway(tmp_path) as plan, page(tmp_path, monkeypatch):
        asked, (outcome,) = ask_sdk(tmp_path, plan, KEY, ALLOW)
        assert asked == []
        assert outcome["isError"] is True
    with open_store(tmp_path / "state" / "pipeguard.db") as store:
        found = [row.entry.findings for row in rows(store, AuditFilter())]
    assert "secrets." in str(found)
    assert "audit.question" not in str(found)


# --- a client in so many bytes ------------------------------------------------------------------


class Client:
    """A client of stdio without a handshake."""

    def __init__(self, wrapped: Wrapped, declared: Object) -> None:
        self.wrapped = wrapped
        self._meta: Object = {
            f"{PREFIX}protocolVersion": "2026-07-28",
            f"{PREFIX}clientInfo": {"name": "tests", "version": "1"},
            f"{PREFIX}clientCapabilities": declared,
        }
        self.ask("tools/list")

    def ask(self, method: str, **more: Json) -> Object:
        return self.wrapped.ask(method, **more, _meta=self._meta)

    def begin(self, text: str = KEY, name: str = "echo", /, **more: Json) -> int:
        call: Object = {"name": name, "arguments": {"text": text}, **more}
        return self.wrapped.request("tools/call", **call, _meta=self._meta)

    def call(self, text: str = KEY, name: str = "echo", /, **more: Json) -> Object:
        return self.wrapped.answer(self.begin(text, name, **more))

    def asked(self, text: str = KEY) -> tuple[str, Object]:
        """The state and the params of the question in the result of a call."""
        told = result(self.call(text))
        assert told["resultType"] == "input_required", told
        requests = told["inputRequests"]
        assert isinstance(requests, dict)
        (question,) = requests.values()
        assert isinstance(question, dict)
        assert KEY not in json.dumps(told)
        return str(told["requestState"]), params(question)


def answers(choice: str | None, action: str = "accept") -> Object:
    """Make the answer that repeats a call with a choice."""
    answer: Object = {"action": action}
    if choice is not None:
        answer["content"] = {"decision": choice}
    return {"pipeguard": answer}


@contextmanager
def client(folder: Path, text: str = FORM, declared: Object | None = None) -> Iterator[Client]:
    command, environment = server(folder, "stateless"), policy(folder, text)
    with Wrapped(folder, command=command, environment=environment) as wrapped:
        yield Client(wrapped, BOTH if declared is None else declared)


def test_a_state_is_for_one_exact_call_and_one_time(tmp_path: Path) -> None:
    with client(tmp_path) as one:
        state, _ = one.asked()
        yes: Object = {"inputResponses": answers(ALLOW), "requestState": state}
        for wrong in (
            one.call(f"{KEY} too", **yes),
            one.call(KEY, "other", **yes),
            one.call(more=1, **yes),
            one.call(**{**yes, "requestState": f"{state}0"}),
            one.ask("prompts/get", name="echo", arguments={"text": KEY}, **yes),
        ):
            assert "belongs to no call that waits" in json.dumps(wrong["error"])
        assert KEY not in heard(tmp_path)
        assert passes(one.call(**yes))
        assert "belongs to no call that waits" in json.dumps(one.call(**yes)["error"])
        assert heard(tmp_path).count(KEY) == 1
        assert not {"inputResponses", "requestState", state} & set(heard(tmp_path).split('"'))


def test_of_two_repeated_calls_one_goes_on(tmp_path: Path) -> None:
    with client(tmp_path) as one:
        state, _ = one.asked()
        yes: Object = {"inputResponses": answers(ALLOW), "requestState": state}
        told = [one.wrapped.answer(number) for number in (one.begin(**yes), one.begin(**yes))]
        assert sorted(map(passes, told)) == [False, True]
        assert heard(tmp_path).count(KEY) == 1


def test_of_two_calls_alike_one_is_asked_about(tmp_path: Path) -> None:
    with client(tmp_path, FORM.replace("10 s", "3 s")) as one:
        state, _ = one.asked()
        other = one.begin()
        waits(tmp_path, 2)
        assert passes(one.call(inputResponses=answers(ALLOW), requestState=state)) != passes(
            one.wrapped.answer(other)
        )
        assert heard(tmp_path).count(KEY) == 1


def is_over(folder: Path, event: str) -> bool:
    return event not in status(folder)


def test_who_declines_refuses_at_once(tmp_path: Path) -> None:
    given = answers(REFUSE), answers(ALLOW, "decline"), answers(None, "decline")
    with client(tmp_path) as one:
        for number, each in enumerate(given, 1):
            text = f"{KEY} {number}"
            (state, _), began = one.asked(text), monotonic()
            told = one.call(text, inputResponses=each, requestState=state)
            assert "The user looked at it and refused it" in json.dumps(told)
            assert monotonic() - began < 5.0
            event = waits(tmp_path, number)
            until(partial(is_over, tmp_path, event), "it is over")
        assert KEY not in heard(tmp_path)


def test_whatever_is_no_choice_decides_nothing(tmp_path: Path) -> None:
    given: list[Json] = [None, answers("yes"), answers(ALLOW, "cancel"), {"pipeguard": []}]
    with client(tmp_path, FORM.replace("10 s", "2 s")) as one:
        for number, each in enumerate(given):
            text, began = f"{KEY} {number}", monotonic()
            state, _ = one.asked(text)
            more: Object = {} if each is None else {"inputResponses": each}
            told = one.call(text, requestState=state, **more)
            assert "Nobody allowed it within 2 s." in json.dumps(told)
            assert monotonic() - began < 4.0, "both waits are one"
        assert KEY not in heard(tmp_path)


def test_an_answer_that_comes_too_late_decides_nothing(tmp_path: Path) -> None:
    with client(tmp_path, FORM.replace("10 s", "1 s")) as one:
        state, _ = one.asked()
        until(lambda: bool(entries(tmp_path, "block")), "its wait is over")
        assert "did not repeat it while it waited" in why(tmp_path, entries(tmp_path, "block")[0])
        told = one.call(inputResponses=answers(ALLOW), requestState=state)
        assert "belongs to no call that waits" in json.dumps(told["error"])
        assert not passes(one.call())
        assert KEY not in heard(tmp_path)


def test_a_page_is_named_and_the_call_waits_on_when_it_is_repeated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with client(tmp_path, URLS.replace("10 s", "50 s")) as one, page(tmp_path, monkeypatch):
        state, question = one.asked()
        event = waits(tmp_path)
        assert question["mode"] == "url"
        assert question["url"] == f"{ADDRESS}/#{event}"
        assert f"waits for you:  pipeguard allow {event}" in status(tmp_path)
        number = one.begin(inputResponses=answers(None), requestState=state)
        assert passes(one.call("hello"))
        assert entries(tmp_path, "ask") == [event], "it is one wait"
        assert event in status(tmp_path)
        allow(tmp_path, event)
        assert passes(one.wrapped.answer(number))
        assert heard(tmp_path).count(KEY) == 1
        until(lambda: event not in status(tmp_path), "it is over")


def test_a_call_that_was_allowed_meanwhile_passes_when_it_is_repeated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with client(tmp_path, URLS) as one, page(tmp_path, monkeypatch):
        state, _ = one.asked()
        allow(tmp_path, waits(tmp_path))
        assert passes(one.call(inputResponses=answers(None), requestState=state))


@pytest.mark.often("nothing", "never")
@pytest.mark.parametrize(
    ("text", "declared"),
    [
        pytest.param(FORM, {}, id="nothing"),
        pytest.param(FORM, {"elicitation": {"url": {}}}, id="no page"),
        pytest.param(URLS, BOTH, id="no page for both"),
        pytest.param(FORM + "ask_in_client: never\n", BOTH, id="never"),
    ],
)
def test_a_client_that_cannot_be_asked_waits(tmp_path: Path, text: str, declared: Object) -> None:
    text = text.replace("10 s", "1 s").replace("form\nask_in_client: ", "")
    with client(tmp_path, text, declared) as one:
        told = result(one.call())
        assert told["resultType"] == "complete"
        assert "Nobody allowed it within 1 s." in json.dumps(told)


def test_a_client_that_dies_while_it_is_asked_keeps_nothing_from_ending(tmp_path: Path) -> None:
    with client(tmp_path) as one:
        one.asked()
        began = monotonic()
        one.wrapped.hang_up()
        one.wrapped.code()
        assert monotonic() - began < 5.0
        assert decide(tmp_path / "state", "status")[0] in (0, 1)
