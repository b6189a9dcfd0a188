"""The declarations of client and server, as far as they are needed later."""

import pytest

from pipeguard.firewall.protocol.json_values import JsonValue
from pipeguard.firewall.protocol.peers import MAX_REVISION_CHARS, Peers


def client(capabilities: JsonValue) -> frozenset[str]:
    peers = Peers()
    peers.begin_handshake({"capabilities": capabilities})
    return peers.capabilities


@pytest.mark.parametrize(
    ("declared", "found"),
    [
        ({}, set()),
        (["roots"], set()),
        ({"roots": {}, "tasks": {}}, {"roots"}),
        ({"elicitation": {}}, {"elicitation", "elicitation/form"}),
        ({"elicitation": {"url": {}}}, {"elicitation", "elicitation/url"}),
        (
            {"elicitation": {"form": {}, "url": {}}},
            {"elicitation", "elicitation/form", "elicitation/url"},
        ),
    ],
)
def test_a_client_has_the_capabilities_that_it_declared(
    declared: JsonValue, found: set[str]
) -> None:
    assert client(declared) == found


def test_a_second_handshake_begins_anew() -> None:
    peers = Peers()
    peers.begin_handshake({"capabilities": {"roots": {}}})
    peers.describe_server("initialize", {"protocolVersion": "2025-06-18"})
    peers.initialized = True
    peers.begin_handshake([])
    assert peers.handshake
    assert (peers.agreed, peers.initialized, peers.capabilities) == (False, False, frozenset())


def test_a_revision_is_agreed_by_the_answer_to_an_opening_alone() -> None:
    peers = Peers()
    peers.describe_server("server/discover", {"protocolVersion": "2026-07-28"})
    assert (peers.revision, peers.agreed) == (None, False)
    peers.describe_server("initialize", {"protocolVersion": "9" * 2 * MAX_REVISION_CHARS})
    assert (peers.revision, peers.agreed) == ("9" * MAX_REVISION_CHARS, True)


@pytest.mark.parametrize(
    ("capabilities", "announced"),
    [
        ({"tools": {"listChanged": True}, "prompts": {"listChanged": False}}, {"tools"}),
        ({"tools": {"listChanged": "true"}, "resources": True}, set()),
        ({"resources": {"listChanged": True}, "logging": {"listChanged": True}}, {"resources"}),
    ],
)
def test_a_list_is_announced_where_the_server_says_so(
    capabilities: dict[str, JsonValue], announced: set[str]
) -> None:
    peers = Peers()
    peers.describe_server("server/discover", {"capabilities": capabilities})
    assert peers.announces == announced


def test_an_answer_without_capabilities_changes_nothing() -> None:
    peers = Peers()
    peers.describe_server("initialize", {"capabilities": {"tools": {"listChanged": True}}})
    peers.describe_server("server/discover", {})
    assert peers.announces == {"tools"}
