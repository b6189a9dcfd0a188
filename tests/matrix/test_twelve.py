"""Twelve real servers behind one gateway answer as each does by itself."""

import os
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from time import monotonic, sleep
from typing import Any, NamedTuple, cast
from urllib.parse import urljoin

import pytest

from tests.forking import PIPEGUARD
from tests.gateway.served import ServedAt, write_servers
from tests.matrix import twelve
from tests.matrix.cells import address
from tests.matrix.twelve import WAYS, Way
from tests.wrap.wrapped import Json, Object

pytestmark = [pytest.mark.real, pytest.mark.long, pytest.mark.needs("git")]
LISTS: list[Object] = [{"list": kind} for kind in ("tools", "resources", "prompts")]
# A list waits for up to 8 s until all servers have started, and not at all once they have. That of
# tools does not wait where they are searched for. The Python client, the only one that starts a
# gateway each time, asks until no server is missing, however busy the machine is.
UNTIL_STARTED: list[Object] = [{**asked, "complete": True} for asked in LISTS[1:]] * 5
LEAST_TOOLS = 100
READY_SECONDS = 120.0
# One gateway that a client starts, and one that listens: together both modes and all transports.
STDIO = next(way for way in WAYS if way.transport == "stdio")
EACH = [
    way
    if way == STDIO or (way.transport != "stdio" and way.mode == "direct")
    else pytest.param(way, marks=pytest.mark.exhaustive)
    for way in WAYS
]


class Alone(NamedTuple):
    """The view of a client that reaches a server directly.

    Attributes:
        tools: definitions, by name.
        outcomes: the outcomes of its session's steps.
    """

    tools: dict[str, Object]
    outcomes: list[Json]


class Behind(NamedTuple):
    """The view of a client behind the gateway.

    Attributes:
        lists: the outcomes of `LISTS`.
        outcomes: the outcomes of each session's steps, by server.
        more: the outcomes of further steps.
    """

    lists: list[Object]
    outcomes: dict[str, list[Json]]
    more: list[Json]


class Played(NamedTuple):
    """All observations.

    Attributes:
        alone: the direct views, by server.
        behind: the views by the way to the gateway.
        found: the first line that `retrieve_tools` answers to a tool's name, by public name.
    """

    alone: dict[str, Alone]
    behind: dict[Way, Behind]
    found: dict[str, str]


class Twelve:
    """The servers in a folder of their own for each who starts them."""

    def __init__(self, folder: Path, page: str) -> None:
        self._folder = folder
        self._page = page

    def alone(self, servers: tuple[str, ...]) -> dict[str, Alone]:
        """Play the sessions of some of the servers without a gateway."""
        home = twelve.prepare(self._folder / f"alone-{servers[0]}")
        commands, sessions = twelve.commands(home), twelve.sessions(home, self._page)
        targets: list[Object] = [
            {
                "command": commands[server][0],
                "args": [*commands[server][1:]],
                "env": cast(Object, twelve.environment(home)),
                "roots": twelve.roots(home),
                "steps": [LISTS[0], *sessions[server]],
            }
            for server in servers
        ]
        seen = {}
        for server, outcomes in zip(servers, twelve.play("python", targets), strict=True):
            definitions = twelve.each_tool(outcomes[0]["result"])
            seen[server] = Alone(
                {str(tool["name"]): tool for tool in definitions},
                [twelve.essence(outcome, home) for outcome in outcomes[1:]],
            )
        return seen

    def over_stdio(self, way: Way, *more: Object) -> dict[Way, Behind]:
        """Let a client start a gateway of its own, and ask it more in the end."""
        name = str(way)
        home = twelve.prepare(self._folder / name)
        config = write_servers(self._folder / f"{name}-config", twelve.entries(home), mode=way.mode)
        command = [*PIPEGUARD, "serve", "--config", str(config)]
        # The SDKs hand on little of their own environment.
        env: Object = {key: os.environ[key] for key in ("XDG_CACHE_HOME", "XDG_CONFIG_HOME")}
        env["PIPEGUARD_STATE_DIR"] = str(self._folder / f"{name}-state")
        target: Object = {"command": command[0], "args": [*command[1:]], "env": env}
        return self._behind(home, way.client, {way: target}, *more)

    @contextmanager
    def _listening(self, mode: str) -> Iterator[tuple[Path, ServedAt]]:
        """A gateway that all other clients share."""
        home = twelve.prepare(self._folder / mode)
        config = write_servers(self._folder / f"{mode}-config", twelve.entries(home), mode=mode)
        with ServedAt(self._folder / f"{mode}-served", "--config", str(config)) as served:
            wait_until_ready(served)
            yield home, served

    def over_http(self, ways: list[Way]) -> dict[Way, Behind]:
        """Play the sessions of all clients of a gateway that listens, one after the other."""
        with self._listening(ways[0].mode) as (home, served):
            return self._by_clients(ways, home, served)

    def _by_clients(self, ways: list[Way], home: Path, served: ServedAt) -> dict[Way, Behind]:
        seen: dict[Way, Behind] = {}
        for client in dict.fromkeys(way.client for way in ways):
            targets: dict[Way, Object] = {
                way: {"transport": way.transport, "url": reached(served, way.transport)}
                for way in ways
                if way.client == client
            }
            seen |= self._behind(home, client, targets)
        return seen

    def _behind(
        self, home: Path, client: str, targets: dict[Way, Object], *more: Object
    ) -> dict[Way, Behind]:
        sessions = twelve.sessions(home, self._page)
        plans: list[Object] = [
            {
                **target,
                "roots": twelve.roots(home),
                "steps": [
                    *UNTIL_STARTED,
                    *LISTS,
                    *(
                        twelve.through_gateway(server, step, way.mode)
                        for server, steps in sessions.items()
                        for step in steps
                    ),
                    *more,
                ],
            }
            for way, target in targets.items()
        ]
        seen = {}
        for way, outcomes in zip(targets, twelve.play(client, plans), strict=True):
            rest = iter(outcomes[len(UNTIL_STARTED) :])
            seen[way] = Behind(
                [next(rest) for _ in LISTS],
                {
                    server: [twelve.essence(next(rest), home) for _ in steps]
                    for server, steps in sessions.items()
                },
                [twelve.essence(each, home) for each in rest],
            )
        return seen


def reached(served: ServedAt, transport: str) -> str:
    """Return the gateway's address of a transport: WebSocket shares Streamable HTTP's path."""
    if transport == "websocket":
        return served.at("/mcp").replace("http", "ws", 1)
    return address(served, transport)


def tool_names(alone: dict[str, Alone]) -> dict[str, tuple[str, str]]:
    """Each tool's server and name, by public name."""
    return {f"{server}__{name}": (server, name) for server in alone for name in alone[server].tools}


@contextmanager
def serving_pages(folder: Path) -> Iterator[str]:
    """Serve a page that never changes; yield its address."""
    (folder / "page.txt").write_text("Plain words of a page.\n")
    handler = partial(_Quiet, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/page.txt"
        finally:
            server.shutdown()
            thread.join()


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Write nothing."""


@pytest.fixture(scope="module")
def played(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Played:
    asked = {
        item.callspec.params.get("way")
        for item in request.session.items
        if isinstance(item, pytest.Function) and hasattr(item, "callspec")
    }
    wanted = [way for way in WAYS if way in asked]
    folder = tmp_path_factory.mktemp("twelve")
    pages = tmp_path_factory.mktemp("pages")
    with serving_pages(pages) as page, ThreadPoolExecutor(4) as pool:
        servers = Twelve(folder, page)
        names = tuple(twelve.commands(folder))
        halves = [pool.submit(servers.alone, names[start::2]) for start in (0, 1)]
        at = [[way for way in wanted if (way.mode, way.transport != "stdio") == (mode, True)]
              for mode in ("search", "direct")]  # fmt: skip
        ways = [pool.submit(servers.over_http, each) for each in at if each]
        ways += [
            pool.submit(servers.over_stdio, way)
            for way in wanted
            if way.transport == "stdio" and way != STDIO
        ]
        alone = {name: seen for half in halves for name, seen in half.result().items()}
        tools = tool_names(alone)
        behind = servers.over_stdio(STDIO, *(search(*each) for each in tools.values()))
        for job in ways:
            behind |= job.result()
    lines = [str(cast("Any", text)["content"][0]["text"]) for text in behind[STDIO].more]
    found = {name: line.partition("\n")[0] for name, line in zip(tools, lines, strict=True)}
    return Played(alone, behind, found)


def search(server: str, name: str) -> Object:
    """The step that searches for a tool by its name."""
    arguments: Object = {"query": name, "server": server, "limit": 3}
    return {"call": "retrieve_tools", "arguments": arguments}


def wait_until_ready(served: ServedAt) -> None:
    """Wait until each server has started: a busy machine takes longer than a client would wait."""
    deadline = monotonic() + READY_SECONDS
    while monotonic() < deadline:
        try:
            with urllib.request.urlopen(urljoin(served.url, "/readyz")):  # noqa: S310  ours
                return
        except urllib.error.HTTPError:
            sleep(0.2)
    raise AssertionError("not every server has started")


def test_there_are_twelve_with_more_than_a_hundred_tools(played: Played) -> None:
    assert len(played.alone) == 12
    assert sum(len(alone.tools) for alone in played.alone.values()) >= LEAST_TOOLS


def test_alone_each_session_goes_as_planned(played: Played) -> None:
    others = {}
    for server, steps in twelve.sessions(Path("/home"), "PAGE").items():
        for number, (seen, step) in enumerate(
            zip(played.alone[server].outcomes, steps, strict=True)
        ):
            failed = not isinstance(seen, dict) or seen["isError"]
            if failed != step.get("fails", False):
                others[f"{server} {number}"] = seen
    assert not others


@pytest.mark.parametrize("way", EACH, ids=str)
def test_what_a_client_is_answered_is_the_servers_answer(played: Played, way: Way) -> None:
    others = {}
    for server, outcomes in played.behind[way].outcomes.items():
        for number, (seen, alone) in enumerate(
            zip(outcomes, played.alone[server].outcomes, strict=True)
        ):
            if seen != alone and not is_helped(seen, alone):
                others[f"{server} {number}"] = {"behind": seen, "alone": alone}
    assert not others


@pytest.mark.parametrize("way", EACH, ids=str)
def test_what_a_client_can_list_is_what_the_servers_have(played: Played, way: Way) -> None:
    tools, resources, prompts = (outcome["result"] for outcome in played.behind[way].lists)
    listed = {str(tool["name"]): tool for tool in twelve.each_tool(tools)}
    if way.mode == "search":
        assert len(listed) == 6
    else:
        assert {name: described(tool) for name, tool in listed.items()} == {
            f"{server}__{name}": described(tool)
            for server, alone in played.alone.items()
            for name, tool in alone.tools.items()
        }
    assert "memo://insights" in str(resources)
    assert "git://working-directory" in str(resources)
    assert "demo://resource/static/document/features.md" in str(resources)
    for prompt in (
        "everything__args-prompt",
        "repos__git_wrapup",
        "sqlite__mcp-demo",
        "fetch__fetch",
    ):
        assert prompt in str(prompts)


def test_each_tool_is_found_by_its_name(played: Played) -> None:
    missed = {name: line for name, line in played.found.items() if not line.startswith(f"{name}(")}
    assert not missed


def described(tool: Object) -> Object:
    """Return the parts of a definition that every SDK shows."""
    return {"description": tool.get("description"), "inputSchema": tool["inputSchema"]}


def is_helped(seen: Json, alone: Json) -> bool:
    """True if a call that failed has the tool's usage behind the server's answer."""
    if not isinstance(seen, dict) or not isinstance(alone, dict) or not alone["isError"]:
        return False
    blocks = seen["content"]
    assert isinstance(blocks, list)
    *own, usage = blocks
    return {**seen, "content": own} == alone and "Usage: " in str(usage)
