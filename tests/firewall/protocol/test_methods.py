"""Methods of the protocol, names that only look like one, and private ones."""

import json
from pathlib import Path

import pytest
import yaml

from pipeguard.errors import Refusal
from pipeguard.firewall.protocol import codes
from pipeguard.firewall.protocol.message import Message, parse
from pipeguard.firewall.protocol.methods import METHODS, check_method

METHODS_FILE = Path(__file__).parents[2] / "conversations" / "methods.yaml"


def message(method: str) -> Message:
    found = parse(json.dumps({"jsonrpc": "2.0", "id": 1, "method": method}).encode())
    assert isinstance(found, Message)
    return found


def test_every_method_of_the_protocol_is_known() -> None:
    methods = yaml.safe_load(METHODS_FILE.read_text(encoding="utf-8"))
    named = {*methods["requests"], *methods["notifications"]}
    assert named <= METHODS
    for method in METHODS:
        check_method(message(method))


@pytest.mark.parametrize(
    "method",
    [
        *("Tools/Call", "tools/call ", "tools\u2215list", "\uff49nitialize", "PING"),
        *("tools//call", "tools.call", "tools_call", "toolsCall", "tools:call", "tools/./call"),
        *("tools\\call", "tools%2Fcall", "tools/call?x=1", "tools/call#", "tools/call;v=1"),
        *("notifications/Cancelled", "tools/c\u0430ll", "tools\u200b/call", "tools/ call"),
    ],
)
def test_a_method_that_looks_like_another_is_refused(method: str) -> None:
    with pytest.raises(Refusal) as refused:
        check_method(message(method))
    told = refused.value
    assert (told.rule, told.code) == ("protocol.method-look-alike", codes.INVALID_REQUEST)
    assert told.id_token == "1"


@pytest.mark.parametrize(
    "method",
    [*("acme/ask", "Acme/Ask", "acme/gr\u00f6\u00dfe", "tools/callback", "tools", "x/ping")],
)
def test_a_method_that_nobody_knows_passes(method: str) -> None:
    check_method(message(method))
