"""The envelope: a Message if JSON-RPC allows it, anything else a Refusal."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeguard.errors import Refusal
from pipeguard.firewall.finding import MessageKind
from pipeguard.firewall.protocol import message as message_module
from pipeguard.firewall.protocol.ids import MAX_ID_BYTES, write_id
from pipeguard.firewall.protocol.json_values import JsonObject, JsonValue, Number, serialise
from pipeguard.firewall.protocol.message import (
    MAX_METHOD_BYTES,
    Message,
    envelope,
    parse,
    read_envelope,
    readdress,
)
from pipeguard.firewall.protocol.strict_json import parse_json, read_json
from tests.fuzz.budget import tried
from tests.fuzz.values import equal, ids, junk, mutated, objects, spaced


def refused(frame: bytes) -> Refusal:
    with pytest.raises(Refusal) as caught:
        parse(frame)
    return caught.value


def read(frame: bytes) -> Message | list[JsonValue] | Refusal:
    """Parse a frame; no other exception may be raised."""
    try:
        return parse(frame)
    except Refusal as refusal:
        return refusal


def message(frame: bytes) -> Message:
    parsed = parse(frame)
    assert isinstance(parsed, Message)
    return parsed


@tried(200)
@given(st.one_of(junk, mutated(objects.map(serialise))))
def test_any_frame_is_a_message_a_batch_or_refused(frame: bytes) -> None:
    parsed = read(frame)
    if isinstance(parsed, Message):
        assert parsed.frame is frame
    if isinstance(parsed, Refusal) and parsed.id_token is not None:
        assert write_id(parse_json(parsed.id_token.encode())) is not None


@tried(150)
@given(ids, st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=12))
def test_a_request_keeps_its_id_and_its_frame(id_: str | Number, method: str) -> None:
    value: dict[str, JsonValue] = {"jsonrpc": "2.0", "id": id_, "method": method}
    for frame in (serialise(value), spaced(value)):
        found = message(frame)
        assert found.kind is MessageKind.REQUEST
        assert found.frame is frame or b"\n" in frame
        assert len(found.frame.decode().splitlines()) == 1
        assert found.method == method
        assert found.id_token == serialise(id_).decode()


@pytest.mark.parametrize("token", ["1.0", "1.5", "1e0", "1E2", "-0", "true", "[]", "{}", "1" * 41])
def test_what_no_peer_repeats_alike_is_no_id(token: str) -> None:
    frame = f'{{"jsonrpc":"2.0","id":{token},"method":"x"}}'.encode()
    refusal = refused(frame)
    assert (refusal.rule, refusal.id_token) == ("protocol.invalid-id", None)


EDGES = st.sampled_from(
    [0, 1, MAX_ID_BYTES - 3, MAX_ID_BYTES - 2, MAX_ID_BYTES, MAX_METHOD_BYTES + 1]
)
NAMES = st.sampled_from(["name", "Name", "NAME", "names", "_meta", "_META", "ſ", "s", "@", "`"])
MANY_NAMES = st.integers(7, 10).map(lambda count: [f"k{number}" for number in range(count)])
ANY_ITEM: st.SearchStrategy[JsonValue] = st.sampled_from([None, {}, Number("1")])
PARAMS: st.SearchStrategy[JsonValue] = st.builds(
    dict[str, JsonValue].fromkeys, st.lists(NAMES) | MANY_NAMES, ANY_ITEM
)
PLAIN_OR_ODD: dict[str, st.SearchStrategy[JsonValue]] = {
    "jsonrpc": st.sampled_from(["2.0", Number("2.0"), "2", None]),
    "id": ids
    | st.sampled_from([*map(Number, ("0", "-0", "7.0", "-", "1" * 40, "1" * 41)), None, True, []])
    | st.builds(lambda times, end: "i" * times + end, EDGES, st.sampled_from(["", '"', "é", "\n"])),
    "method": st.text(max_size=3) | EDGES.map(lambda times: "m" * times) | st.just(Number("1")),
    "params": st.one_of(st.none(), PARAMS),
    "result": st.just({}),
    "error": st.just({}),
    "Method": st.just("x"),
    "other": st.just(None),
}


@tried(800)
@given(
    st.fixed_dictionaries({}, optional=PLAIN_OR_ODD),
    st.sampled_from([{}, {"jsonrpc": "2.0"}, {"jsonrpc": "2.0", "id": Number("7")}]),
)
def test_the_envelope_is_read_alike_in_c_and_without(odd: JsonObject, plain: JsonObject) -> None:
    value = {**odd, **plain}

    def read_by(form: Callable[[bytes, JsonObject], Message]) -> Message | tuple[str, str | None]:
        try:
            return form(b"frame", value)
        except Refusal as refusal:
            return refusal.rule, refusal.id_token

    by_both, alone = map(read_by, (envelope, read_envelope))
    assert by_both == alone
    if isinstance(by_both, Message):
        assert [type(text) for text in by_both] == [type(text) for text in alone]


def test_the_form_in_c_reads_plain_envelopes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(message_module, "read_envelope", None)
    for text in (
        '{"jsonrpc":"2.0","id":-7,"method":"tools/call","params":{"name":"x","_meta":{"a":1}}}',
        '{"jsonrpc":"2.0","id":"a b","method":"x","params":{"K":1,"k1":2,"Kk":3}}',
        '{"method":"x","jsonrpc":"2.0"}',
        '{"jsonrpc":"2.0","id":0,"result":{}}',
        '{"error":{},"jsonrpc":"2.0","id":""}',
    ):
        message(text.encode())


LONG = "a" * (MAX_METHOD_BYTES + 1)
ENVELOPES = {
    '{"id":1,"method":"x"}': ("jsonrpc-version", "1"),
    '{"jsonrpc":"2.0 ","id":"a","method":"x"}': ("jsonrpc-version", '"a"'),
    '{"jsonrpc":"2.0","id":null,"method":"x"}': ("invalid-id", None),
    '{"jsonrpc":"2.0","id":1,"method":""}': ("invalid-method", "1"),
    '{"jsonrpc":"2.0","id":1,"method":"a\\nb"}': ("invalid-method", "1"),
    f'{{"jsonrpc":"2.0","id":1,"method":"{LONG}"}}': ("invalid-method", "1"),
    '{"jsonrpc":"2.0","id":1,"method":"x","result":{}}': ("request-and-response", "1"),
    '{"jsonrpc":"2.0","id":1,"method":"x","params":[]}': ("params-not-an-object", "1"),
    '{"jsonrpc":"2.0","id":1,"method":"x","params":null}': ("params-not-an-object", "1"),
    '{"jsonrpc":"2.0","id":1,"method":"x","params":{"_meta":1}}': ("meta-not-an-object", "1"),
    '{"jsonrpc":"2.0","id":1,"Method":"x"}': ("key-look-alike", "1"),
    '{"jsonrpc":"2.0","id":1,"method":"x","paramſ":{}}': ("key-look-alike", "1"),
    '{"jsonrpc":"2.0","ID":1,"method":"x"}': ("key-look-alike", None),
    '{"jsonrpc":"2.0","id":1,"method":"x","params":{"name":1,"Name":2}}': ("key-look-alike", "1"),
    '{"jsonrpc":"2.0","id":1}': ("malformed-answer", "1"),
    '{"jsonrpc":"2.0","id":1,"result":{},"error":{}}': ("malformed-answer", "1"),
    '{"jsonrpc":"2.0","result":{}}': ("no-method", None),
    '{"jsonrpc":"2.0","id":null,"error":{},"result":{}}': ("malformed-answer", None),
    '"x"': ("not-an-object", None),
}


@pytest.mark.parametrize(("text", "told"), ENVELOPES.items(), ids=range(len(ENVELOPES)))
def test_an_odd_envelope_is_refused(text: str, told: tuple[str, str | None]) -> None:
    refusal = refused(text.encode())
    assert (refusal.rule, refusal.id_token) == (f"protocol.{told[0]}", told[1])


def test_an_envelope_may_have_more_members() -> None:
    found = message(b'{"jsonrpc":"2.0","method":"x","__proto__":{},"extra":[1]}')
    assert (found.kind, found.id_token) == (MessageKind.NOTIFICATION, None)


def test_an_error_may_have_no_id() -> None:
    for id_member in (b"", b'"id":null,'):
        found = message(b'{"jsonrpc":"2.0",' + id_member + b'"error":{"code":1,"message":"x"}}')
        assert (found.kind, found.id_token) == (MessageKind.ERROR, None)


def test_an_answer_is_a_result_or_an_error() -> None:
    assert message(b'{"jsonrpc":"2.0","id":"a","result":{}}').kind is MessageKind.RESULT
    assert message(b'{"jsonrpc":"2.0","id":0,"error":{}}').kind is MessageKind.ERROR
    assert parse(b'[{"jsonrpc":"2.0"},1]') == [{"jsonrpc": "2.0"}, "1"]


# --- another id -------------------------------------------------------------------------------


@tried(200)
@given(ids, ids, objects, st.permutations(["jsonrpc", "id", "result"]))
def test_an_answer_has_another_id_in_its_bytes_and_nothing_else(
    own: str | Number, asked: str | Number, result: JsonObject, order: list[str]
) -> None:
    members: JsonObject = {"jsonrpc": "2.0", "id": own, "result": result}
    value = {name: members[name] for name in order}
    for frame in (serialise(value), spaced(value)):
        told = readdress(message(frame), write_id(asked) or "")
        assert told is not None
        again, line = read_json(told)
        assert equal(again, {**value, "id": asked})
        assert line is told


@pytest.mark.parametrize(
    "frame",
    [
        b'{"jsonrpc":"2.0","id":1,"result":{},"x":1}',
        rb'{"jsonrpc":"2.0","\u0069d":1,"result":{"id":1}}',
    ],
)
def test_an_answer_with_more_members_or_an_escaped_name_is_written_anew(frame: bytes) -> None:
    assert readdress(message(frame), "2") is None
