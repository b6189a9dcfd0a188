"""Messages of real clients and real servers pass the wrapper byte for byte."""

import json
import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.parity.session import CLIENTS, SERVERS, Json, Played, Session, wrapper_command

# Some servers, and each client, each time; `make exhaustive` has each server with each client.
OFTEN = ("everything-python", "memory-typescript", "filesystem-typescript-1")
pytestmark = [pytest.mark.real, pytest.mark.often(*OFTEN)]
OFFERS = {
    # method: (the member of its result, what names an item)
    "tools/list": ("tools", "name"),
    "prompts/list": ("prompts", "name"),
    "resources/list": ("resources", "uri"),
    "resources/templates/list": ("resourceTemplates", "uriTemplate"),
}
PAIRS = [
    pytest.param((server, client), marks=[pytest.mark.needs("git")] * (server == "git"))
    for server in SERVERS
    for client in CLIENTS
]


@dataclass(frozen=True)
class Pair:
    """One session, played directly and through the wrapper."""

    session: Session
    direct: Played
    wrapped: Played


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The home of the SDKs' clients: all sessions share one store, and the cache of all tests."""
    folder = tmp_path_factory.mktemp("home")
    (folder / ".cache").symlink_to(os.environ["XDG_CACHE_HOME"])
    return folder


@pytest.fixture(scope="module", params=PAIRS, ids="-".join)
def pair(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, home: Path
) -> Pair:
    server, client = request.param
    session = Session.load(server, client)
    folder = tmp_path_factory.mktemp("parity")
    wrapper = wrapper_command(f"{server}-{client}")
    # Names of one length, so that lengths that a server tells are equal too.
    with ThreadPoolExecutor() as pool:
        direct = pool.submit(session.play, folder / "plain", home, None)
        wrapped = pool.submit(session.play, folder / "guard", home, wrapper)
        return Pair(session, direct.result(), wrapped.result())


def test_every_step_goes_as_planned(pair: Pair) -> None:
    outcomes = pair.direct.steps[1:]  # the first is the handshake
    planned = [step.get("fails", False) for step in pair.session.steps]
    assert [outcome["failed"] for outcome in outcomes] == planned, list(
        zip(pair.session.steps, outcomes, strict=True)
    )


def test_the_session_speaks_the_methods_that_it_names(pair: Pair) -> None:
    spoken = {message.get("method") for message in (*pair.direct.sent, *pair.direct.answered)}
    assert pair.session.methods - spoken == set()


def test_everything_on_offer_is_driven(pair: Pair) -> None:
    asked = {m["id"]: m for m in pair.direct.sent if "id" in m and "method" in m}
    offered = {
        (method, str(item[key]))
        for answer in pair.direct.answered
        if isinstance(answer.get("result"), dict)
        and (method := asked.get(answer.get("id"), {}).get("method")) in OFFERS
        for member, key in [OFFERS[str(method)]]
        for item in items(answer["result"], member)
    }
    assert offered - driven(pair.direct.sent) == set()


def test_the_bytes_that_left_the_client_reach_the_server(pair: Pair) -> None:
    left, arrived = pair.wrapped.client_side.to_server, pair.wrapped.server_side.to_server
    assert on_one_line(left) == arrived


def test_the_bytes_that_left_the_server_reach_the_client(pair: Pair) -> None:
    left, arrived = pair.wrapped.server_side.to_client, pair.wrapped.client_side.to_client
    late = after_cancel(pair.wrapped, pair.session.withheld)
    assert on_one_line([line for line in left if line not in late]) == [
        line for line in arrived if line not in late
    ]


def on_one_line(lines: list[bytes]) -> list[bytes]:
    """The lines, with escapes for characters at which some readers of lines split (RFC 8259, 7)."""
    for end in ("\x85", "\u2028", "\u2029"):
        lines = [line.replace(end.encode(), f"\\u{ord(end):04x}".encode()) for line in lines]
    return lines


def test_the_client_sees_the_same(pair: Pair) -> None:
    """But for how far a request had come when it was cancelled, which is a matter of time."""
    assert to_the_end(pair.wrapped) == to_the_end(pair.direct)


def to_the_end(played: Played) -> list[str]:
    """Return a client's observations, without the progress of cancelled requests."""
    tokens = cancelled(played)
    return [
        line
        for line in played.observed
        if '"notifications/progress"' not in line
        or field(json.loads(line), "progressToken") not in tokens
    ]


def after_cancel(played: Played, methods: set[str]) -> set[bytes]:
    """The lines of these methods that tell of a request that the client had cancelled."""
    tokens = cancelled(played)
    return {
        line
        for line in played.server_side.to_client
        if line
        and (message := json.loads(line)).get("method") in methods
        and field(message, "progressToken") in tokens
    }


def cancelled(played: Played) -> set[str]:
    """The progress tokens of the requests that the client cancelled."""
    ids = {
        field(message, "requestId")
        for message in played.sent
        if message.get("method") == "notifications/cancelled"
    }
    return {
        field(message, "_meta", "progressToken")
        for message in played.sent
        if json.dumps(message.get("id")) in ids and "method" in message
    }


def field(message: dict[str, Json], *keys: str) -> str:
    """A member of a message's params, as JSON, so that 1 and "1" differ."""
    value = message.get("params")
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return json.dumps(value)


def items(result: Json, member: str) -> Iterable[dict[str, Json]]:
    listed = result.get(member) if isinstance(result, dict) else None
    return [item for item in listed if isinstance(item, dict)] if isinstance(listed, list) else []


def driven(sent: Iterable[dict[str, Json]]) -> set[tuple[str, str]]:
    """Return the features that the client used, in the terms of the lists."""
    used = set()
    for message in sent:
        params = message.get("params")
        if not isinstance(params, dict):
            continue
        match message.get("method"):
            case "tools/call":
                used.add(("tools/list", str(params["name"])))
            case "prompts/get":
                used.add(("prompts/list", str(params["name"])))
            case "resources/read":
                uri = str(params["uri"])
                used.add(("resources/list", uri))
                # the reference servers' templates have one variable, at the end
                used.add(("resources/templates/list", f"{uri.rpartition('/')[0]}/{{resourceId}}"))
    return used
