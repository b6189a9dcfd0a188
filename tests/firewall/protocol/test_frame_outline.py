"""Unreadable frames: their owners, as far as their outline tells."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeguard.firewall.protocol import codes
from pipeguard.firewall.protocol.framing import Oversized, is_request_shaped
from pipeguard.firewall.protocol.ids import write_id
from pipeguard.firewall.protocol.json_values import serialise
from pipeguard.firewall.protocol.strict_json import MAX_NODES, parse_json
from tests.firewall.protocol.test_strict_json import refused
from tests.fuzz.budget import tried
from tests.fuzz.values import junk, mutated, objects, values


def oversized(kept: bytes) -> Oversized:
    """Make an oversized line with this head and tail."""
    return Oversized.of(kept, kept, 2**30)


STRAY = {
    b'{"id":7,"method":"x","a":': "7",
    b'{"jsonrpc":"2.0","id":"a-1","method":"x","a":': '"a-1"',
    b' { "jsonrpc" : "2.0" , "method" : "x" , "id" : -3 , "a":': "-3",
    b'{"jsonrpc":"2.0","params":{}, "id":7}': "7",
    b'{"jsonrpc":"2.0","result":{"a":[]},"id":"x","method":"m"}\r': '"x"',
    b'{"params":{"id":7},"a":': None,
    b'{"params":["{\\"id\\":7,"],"a":': None,
    b'{"id":007,"a":': None,
    b'{"id":1.5,"a":': None,
    b'{"id":"\xff","a":': None,
    b'{"id":"a\\u0062","a":': '"ab"',
    b'{"id":null,"a":': None,
    b'{"id":"' + b"a" * 1023 + b'","a":': None,
    b"": None,
}


@pytest.mark.parametrize(("kept", "token"), STRAY.items(), ids=range(len(STRAY)))
def test_a_certain_id_of_an_oversized_frame_is_told(kept: bytes, token: str | None) -> None:
    refusal = refused(oversized(kept))
    assert (refusal.rule, refusal.code) == ("protocol.frame-too-large", codes.UNSCANNABLE)
    assert refusal.id_token == token


@tried(100)
@given(st.one_of(st.binary(max_size=60), mutated(objects.map(serialise))))
def test_a_stray_id_is_an_id(kept: bytes) -> None:
    token = refused(oversized(b'{"id":' + kept)).id_token
    if token is not None:
        assert write_id(parse_json(token.encode())) is not None


@pytest.mark.parametrize(
    ("frame", "asks"),
    [
        (b'{"id":1,"method":"x","params":[]}', True),
        (b'{"id":1,"\\u006dethod":"x","params":[]}', True),
        (b'{"id":1,"method":"x","method":"y"}', True),
        (b'{"id":1,"result":{"method":"x"}}', False),
        (b'{"id":1,"result":{"a":1,"a":2}}', False),
        (b'{"id":1,"error":{"code":1,"message":"\\"method\\""}}', False),
        (b"[1]", None),
        (b'{"id":1,"method":' + b"[" * 200, True),
        (b'{"id":1,"result":' + b"[" * 200, False),
        (b'{"id":1,"method":\xff', True),
        (b'{"id":1,"result":{"a":[' + b"0," * MAX_NODES + b"0]}}", False),
        (oversized(b'{"id":1,"method":"x"'), True),
    ],
    ids=range(12),
)
def test_what_a_refused_frame_was_is_told(frame: bytes, asks: bool | None) -> None:
    assert is_request_shaped(frame) is asks


@tried(100)
@given(st.one_of(junk, mutated(values.map(serialise))))
def test_the_shape_of_any_bytes_can_be_asked_for(frame: bytes) -> None:
    is_request_shaped(frame)
