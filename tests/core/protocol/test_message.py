"""Strict parsing: what every parser reads alike is a Message, anything else a Refusal."""

import json
import threading

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pipeguard.core.finding import MessageKind
from pipeguard.core.protocol import codes
from pipeguard.core.protocol.framing import Oversized
from pipeguard.core.protocol.message import (
    MAX_DEPTH,
    MAX_ID_BYTES,
    MAX_KEYS,
    MAX_METHOD_BYTES,
    MAX_NODES,
    STACK_BYTES,
    JsonValue,
    Message,
    Number,
    answer_is_well_formed,
    holds_more_than,
    id_token_of,
    is_request_shaped,
    nests_deeper_than,
    parse,
    parse_json,
    serialise,
)
from pipeguard.errors import Refusal
from tests.fuzz.budget import tried
from tests.fuzz.values import equal, ids, junk, mutated, objects, spaced, texts, tokens, values

MEBIBYTE = 2**20


def refused(frame: bytes) -> Refusal:
    with pytest.raises(Refusal) as caught:
        parse(frame)
    return caught.value


def rule_of(text: bytes) -> str | None:
    """By which rule a JSON text is refused, if it is."""
    try:
        parse_json(text)
    except Refusal as refusal:
        return refusal.rule
    return None


def read(frame: bytes) -> Message | list[JsonValue] | Refusal:
    """What becomes of a frame; nothing else is raised."""
    try:
        return parse(frame)
    except Refusal as refusal:
        return refusal


def message(frame: bytes) -> Message:
    parsed = parse(frame)
    assert isinstance(parsed, Message)
    return parsed


def lenient(text: bytes) -> object:
    """What the standard's own parser reads, numbers as text."""
    read: object = json.loads(text.decode("utf-8"), parse_int=str, parse_float=str)
    return read


# --- JSON --------------------------------------------------------------------------------------


@tried(300)
@given(st.one_of(junk, mutated(values.map(serialise)), mutated(values.map(spaced))))
@example(b"")
@example(b"\xef\xbb\xbf{}")
@example(b'{"a":\x0b1}')
def test_bytes_are_read_or_refused_and_what_is_read_reads_again(frame: bytes) -> None:
    try:
        value = parse_json(frame)
    except Refusal:
        return
    written = serialise(value)
    assert equal(parse_json(written), value)
    assert lenient(frame) == lenient(written)


@tried(200)
@given(st.one_of(junk, mutated(objects.map(serialise))))
def test_any_frame_is_a_message_a_batch_or_refused(frame: bytes) -> None:
    parsed = read(frame)
    if isinstance(parsed, Message):
        assert parsed.frame is frame
    if isinstance(parsed, Refusal) and parsed.id_token is not None:
        assert id_token_of(parse_json(parsed.id_token.encode())) is not None


@tried(200)
@given(values)
def test_compact_json_is_written_as_it_was_read(value: JsonValue) -> None:
    written = serialise(value)
    assert equal(parse_json(written), value)
    assert serialise(parse_json(written)) == written


@tried(60)
@given(values)
def test_white_space_and_escapes_change_no_value(value: JsonValue) -> None:
    assert equal(parse_json(spaced(value)), value)
    assert serialise(parse_json(spaced(value))) == serialise(value)


@tried(100)
@given(tokens)
def test_a_number_keeps_its_token(token: Number) -> None:
    value = parse_json(b"[" + token.encode() + b"]")
    assert isinstance(value, list)
    assert type(value[0]) is Number
    assert serialise(value) == b"[" + token.encode() + b"]"


AMBIGUOUS = {
    b'{"a":1,"a":1}': "protocol.duplicate-key",
    b'{"a":1,"\\u0061":2}': "protocol.duplicate-key",
    b'{"x":[{"b":{"a":1,"a":2}}]}': "protocol.duplicate-key",
    b"[NaN]": "protocol.invalid-json",
    b"[Infinity]": "protocol.invalid-json",
    b"[-Infinity]": "protocol.invalid-json",
    b"\xef\xbb\xbf[]": "protocol.invalid-json",
    b"[]\x00": "protocol.invalid-json",
    b'["\x01"]': "protocol.invalid-json",
    b'["\n"]': "protocol.invalid-json",
    b"[] []": "protocol.invalid-json",
    b"[1,]": "protocol.invalid-json",
    b'{"a":1,}': "protocol.invalid-json",
    b"{'a':1}": "protocol.invalid-json",
    b"[1]//": "protocol.invalid-json",
    b"[01]": "protocol.invalid-json",
    b"[+1]": "protocol.invalid-json",
    b"[.5]": "protocol.invalid-json",
    b"[1.]": "protocol.invalid-json",
    b"[0x1]": "protocol.invalid-json",
    b"[True]": "protocol.invalid-json",
    b"\x0c[]": "protocol.invalid-json",
    b"\xc2\xa0[]": "protocol.invalid-json",
    rb'["\ud800"': "protocol.invalid-json",
    b'["\\x41"]': "protocol.invalid-json",
    b'["\xc0\x80"]': "protocol.invalid-utf8",
    b'["\xed\xa0\x80"]': "protocol.invalid-utf8",
    b'["\xff"]': "protocol.invalid-utf8",
    "[]".encode("utf-16"): "protocol.invalid-utf8",
    b"": "protocol.invalid-json",
}


@pytest.mark.parametrize(("text", "rule"), AMBIGUOUS.items(), ids=[str(i) for i in AMBIGUOUS])
def test_what_parsers_read_differently_is_refused(text: bytes, rule: str) -> None:
    with pytest.raises(Refusal) as caught:
        parse_json(text)
    assert caught.value.rule == rule


HALVES = [r"\ud83d", r"\uDE00", r"\uD83D\ude00", r"\\", r"\\ud83d", "😀", r"\u0041", "a", r"\""]


@tried(200)
@given(st.lists(st.sampled_from(HALVES), max_size=6), st.booleans())
def test_half_a_character_is_refused_and_its_request_answered(
    parts: list[str], as_key: bool
) -> None:
    text = '"' + "".join(parts) + '"'
    member = f"{{{text}:1}}" if as_key else text
    frame = f'{{"jsonrpc":"2.0","id":7,"method":"x","params":{{"a":{member}}}}}'.encode()
    read: str = json.loads(text)
    if any("\ud800" <= character <= "\udfff" for character in read):
        refusal = refused(frame)
        assert (refusal.rule, refusal.id_token) == ("protocol.lone-surrogate", "7")
    else:
        assert message(frame).id_token == "7"


# --- size and depth ----------------------------------------------------------------------------


def depth(frame: bytes) -> int:
    """How deep the brackets outside of strings nest, counted one by one."""
    level = deepest = 0
    inside = escaped = False
    for byte in frame:
        if inside:
            inside = escaped or byte != ord('"')
            escaped = not escaped and byte == ord("\\")
        elif byte == ord('"'):
            inside = True
        elif byte in b"[{":
            level += 1
            deepest = max(deepest, level)
        elif byte in b"]}":
            level -= 1
    return deepest


@tried(200)
@given(values, st.integers(0, 8))
def test_nesting_is_counted_as_one_would(value: JsonValue, limit: int) -> None:
    for frame in (serialise(value), spaced(value)):
        assert nests_deeper_than(parse_json(frame), limit) == (depth(frame) > limit)


@pytest.mark.parametrize(
    ("opening", "closing"),
    [(b"[", b"]"), (b'{"a":', b"}"), (b'[{"a":', b"}]"), (b'{"[":[{"\\"]":', b"}]}")],
    ids=range(4),
)
def test_nesting_is_held_at_the_limit(opening: bytes, closing: bytes) -> None:
    levels = len(closing)
    for count in (MAX_DEPTH // levels, MAX_DEPTH // levels + 1):
        frame = opening * count + b"1" + closing * count
        assert rule_of(frame) == ("protocol.too-deep" if count * levels > MAX_DEPTH else None)


@pytest.mark.parametrize(
    "bomb",
    [
        b"[" * MEBIBYTE,
        b'{"a":' * (MEBIBYTE // 5),
        b'[{"a":' * (MEBIBYTE // 6),
        b"[" * (MEBIBYTE // 2) + b"]" * (MEBIBYTE // 2),
        b"]" * (MEBIBYTE // 2) + b"[" * (MEBIBYTE // 2),
        b'{"id":1,"a":' + b"[" * MEBIBYTE,
        (b"[" * 65 + b"]" * 65) * (MEBIBYTE // 130),
    ],
    ids=range(7),
)
def test_a_nesting_bomb_is_refused_on_the_stack_that_threads_have(bomb: bytes) -> None:
    refusals: list[Refusal] = []
    threading.stack_size(STACK_BYTES)
    thread = threading.Thread(target=lambda: refusals.append(refused(bomb)))
    thread.start()
    thread.join()
    threading.stack_size(0)
    assert refusals[0].code in {codes.UNSCANNABLE, codes.PARSE_ERROR}


@tried(100)
@given(values, st.integers(1, 12))
def test_no_more_values_than_the_limit_are_read(value: JsonValue, limit: int) -> None:
    """Never fewer are counted than there are; an empty container counts for two."""

    def count(one: JsonValue) -> int:
        inner = list(one.values()) if isinstance(one, dict) else one
        return 1 + (sum(map(count, inner)) if isinstance(inner, list) else 0)

    if count(value) > limit:
        assert holds_more_than(serialise(value), limit)
    if 2 * count(value) <= limit:
        assert not holds_more_than(spaced(value), limit)


def test_too_many_values_and_keys_are_unscannable_and_answered() -> None:
    many = b'{"jsonrpc":"2.0","id":7,"method":"x","params":{"a":[' + b"0," * MAX_NODES + b"0]}}"
    keys = b",".join(b'"%d":0' % number for number in range(MAX_KEYS + 1))
    wide = b'{"jsonrpc":"2.0","id":7,"method":"x","params":{' + keys + b"}}"
    for frame, rule in ((many, "too-many-values"), (wide, "too-many-keys")):
        refusal = refused(frame)
        assert (refusal.rule, refusal.code) == (f"protocol.{rule}", codes.UNSCANNABLE)
        assert refusal.id_token == "7"


def test_commas_in_a_text_are_no_values() -> None:
    assert parse_json(b'["' + b"," * (2 * MAX_NODES) + b'"]')


# --- the envelope ------------------------------------------------------------------------------


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


@tried(100)
@given(ids, ids)
def test_two_ids_have_one_token_only_if_they_are_the_same(
    one: str | Number, other: str | Number
) -> None:
    same = type(one) is type(other) and one == other
    assert (id_token_of(one) == id_token_of(other)) == same


@pytest.mark.parametrize("token", ["1.0", "1.5", "1e0", "1E2", "-0", "true", "[]", "{}", "1" * 41])
def test_what_no_peer_repeats_alike_is_no_id(token: str) -> None:
    frame = f'{{"jsonrpc":"2.0","id":{token},"method":"x"}}'.encode()
    refusal = refused(frame)
    assert (refusal.rule, refusal.id_token) == ("protocol.invalid-id", None)


@pytest.mark.parametrize("size", [MAX_ID_BYTES - 2, MAX_ID_BYTES - 1])
def test_an_id_is_short(size: int) -> None:
    assert (id_token_of("a" * size) is None) == (size + 2 > MAX_ID_BYTES)
    assert id_token_of("é" * size) is None
    assert id_token_of("a" * (MAX_ID_BYTES + 1)) is None


ENVELOPES = {
    '{"id":1,"method":"x"}': ("jsonrpc-version", "1"),
    '{"jsonrpc":"1.0","id":1,"method":"x"}': ("jsonrpc-version", "1"),
    '{"jsonrpc":2.0,"id":1,"method":"x"}': ("jsonrpc-version", "1"),
    '{"jsonrpc":"2.0 ","id":"a","method":"x"}': ("jsonrpc-version", '"a"'),
    '{"jsonrpc":"2.0","id":null,"method":"x"}': ("invalid-id", None),
    '{"jsonrpc":"2.0","id":1,"method":""}': ("invalid-method", "1"),
    '{"jsonrpc":"2.0","id":1,"method":1}': ("invalid-method", "1"),
    '{"jsonrpc":"2.0","id":1,"method":null}': ("invalid-method", "1"),
    '{"jsonrpc":"2.0","id":1,"method":"a\\nb"}': ("invalid-method", "1"),
    f'{{"jsonrpc":"2.0","id":1,"method":"{"a" * (MAX_METHOD_BYTES + 1)}"}}': (
        "invalid-method",
        "1",
    ),
    '{"jsonrpc":"2.0","id":1,"method":"x","result":{}}': ("request-and-response", "1"),
    '{"jsonrpc":"2.0","id":1,"method":"x","error":{}}': ("request-and-response", "1"),
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
    '{"jsonrpc":"2.0"}': ("no-method", None),
    '{"jsonrpc":"2.0","id":null,"error":{},"result":{}}': ("malformed-answer", None),
    '"x"': ("not-an-object", None),
    "1": ("not-an-object", None),
    "null": ("not-an-object", None),
    " true ": ("not-an-object", None),
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


WELL_FORMED = {
    '{"result":{}}': True,
    '{"result":null}': False,
    '{"result":[]}': False,
    '{"error":{"code":-1,"message":""}}': True,
    '{"error":{"code":"1","message":""}}': False,
    '{"error":{"code":1.5,"message":""}}': False,
    '{"error":{"code":1}}': False,
    '{"error":{"code":1,"message":1}}': False,
    '{"error":"x"}': False,
}


@pytest.mark.parametrize(("text", "well"), WELL_FORMED.items(), ids=[*WELL_FORMED])
def test_an_answer_is_well_formed_or_not(text: str, well: bool) -> None:
    value = parse_json(text.encode())
    assert isinstance(value, dict)
    assert answer_is_well_formed(value) == well


# --- what is told of a frame that was not read -------------------------------------------------


def oversized(kept: bytes) -> Oversized:
    """A line of which this is the head and the tail."""
    return Oversized.of(kept, kept, 2**30)


STRAY = {
    b'{"id":7,"method":"x","a":': "7",
    b'{"jsonrpc":"2.0","id":"a-1","method":"x","a":': '"a-1"',
    b' { "jsonrpc" : "2.0" , "method" : "x" , "id" : -3 , "a":': "-3",
    b'{"jsonrpc":"2.0","params":{}, "id":7}': "7",
    b'{"jsonrpc":"2.0","result":{"a":[]},"id":"x","method":"m"}\r': '"x"',
    b'{"params":{"id":7},"a":': None,
    b'{"params":{"a":{},"id":7}}': None,
    b'{"params":["{\\"id\\":7,"],"a":': None,
    b'{"id":007,"a":': None,
    b'{"id":-0,"a":': None,
    b'{"id":1.5,"a":': None,
    b'{"id":"\xff","a":': None,
    b'{"id":"\x01","a":': None,
    b'{"id":"a\\u0062","a":': '"ab"',
    b'{"id":null,"a":': None,
    b'{"id":"' + b"a" * 1023 + b'","a":': None,
    b"": None,
}


@pytest.mark.parametrize(("kept", "token"), STRAY.items(), ids=range(len(STRAY)))
def test_the_id_of_an_oversized_frame_is_told_where_it_is_certain(
    kept: bytes, token: str | None
) -> None:
    refusal = refused(oversized(kept))
    assert (refusal.rule, refusal.code) == ("protocol.frame-too-large", codes.UNSCANNABLE)
    assert refusal.id_token == token


@tried(100)
@given(st.one_of(st.binary(max_size=60), mutated(objects.map(serialise))))
def test_a_stray_id_is_an_id(kept: bytes) -> None:
    token = refused(oversized(b'{"id":' + kept)).id_token
    if token is not None:
        assert id_token_of(parse_json(token.encode())) is not None


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
def test_nothing_that_is_asked_of_any_frame_fails(frame: bytes) -> None:
    for limit in (0, 1, 64):
        holds_more_than(frame, limit)
    is_request_shaped(frame)


@tried(60)
@given(st.lists(texts, min_size=2, max_size=6))
def test_a_key_that_stands_twice_is_refused(keys: list[str]) -> None:
    members = b",".join(spaced(key) + b":0" for key in keys)
    twice = len(set(keys)) < len(keys)
    assert rule_of(b"{" + members + b"}") == ("protocol.duplicate-key" if twice else None)
