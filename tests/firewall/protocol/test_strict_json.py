"""Strict JSON: a value if every parser reads it alike, anything else a Refusal."""

import json
import threading
from pathlib import Path
from types import ModuleType
from typing import cast

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pipeguard.errors import Refusal
from pipeguard.firewall.protocol import codes, strict_json
from pipeguard.firewall.protocol.framing import one_line
from pipeguard.firewall.protocol.json_values import NATIVE, JsonValue, Number, serialise
from pipeguard.firewall.protocol.strict_json import (
    MAX_DEPTH,
    MAX_KEYS,
    MAX_NODES,
    STACK_BYTES,
    ParsedFrame,
    holds_more_than,
    nests_deeper_than,
    parse_json,
    read_json,
    read_text,
    without_value,
)
from tests.detect.model.samples import run_sanitized
from tests.fuzz.budget import tried
from tests.fuzz.values import equal, junk, mutated, spaced, texts, values

MEBIBYTE = 2**20


def refused(frame: bytes) -> Refusal:
    with pytest.raises(Refusal) as caught:
        parse_json(frame)
    return caught.value


def rule_of(text: bytes) -> str | None:
    """Return the rule that refuses a JSON text, or None."""
    try:
        parse_json(text)
    except Refusal as refusal:
        return refusal.rule
    return None


def lenient(text: bytes) -> object:
    """Parse with the standard library, with numbers as text."""
    read: object = json.loads(text.decode("utf-8"), parse_int=str, parse_float=str)
    return read


@tried(150)
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


@tried(60)
@given(values)
def test_white_space_and_escapes_change_no_value(value: JsonValue) -> None:
    assert equal(parse_json(spaced(value)), value)
    assert serialise(parse_json(spaced(value))) == serialise(value)


AMBIGUOUS = {
    b'{"a":1,"a":1}': "protocol.duplicate-key",
    b'{"a":1,"\\u0061":2}': "protocol.duplicate-key",
    b'{"x":[{"b":{"a":1,"a":2}}]}': "protocol.duplicate-key",
    b"[NaN]": "protocol.invalid-json",
    b"\xef\xbb\xbf[]": "protocol.invalid-json",
    b"[]\x00": "protocol.invalid-json",
    b'["\x01"]': "protocol.invalid-json",
    b'["\n"]': "protocol.invalid-json",
    b"[] []": "protocol.invalid-json",
    b'{"a":1,}': "protocol.invalid-json",
    b"{'a':1}": "protocol.invalid-json",
    b"[01]": "protocol.invalid-json",
    b"[.5]": "protocol.invalid-json",
    b"[1.]": "protocol.invalid-json",
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
    assert rule_of(text) == rule


HALVES = [r"\ud83d", r"\uDE00", r"\uD83D\ude00", r"\\", r"\\ud83d", "😀", r"\u0041", "a", r"\""]


@tried(100)
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
        assert isinstance(parse_json(frame), dict)


# --- the form in C -----------------------------------------------------------------------------

LIMITS = MAX_DEPTH, MAX_NODES, MAX_KEYS
ENDS = st.text(st.sampled_from("a\x85\u2028\u2029\u2027é中\U00010085"), max_size=20)
FRAMES = (
    junk
    | st.one_of(values, ENDS).map(serialise)
    | st.lists(ENDS, max_size=3).map(lambda lines: json.dumps(lines, ensure_ascii=False).encode())
    | mutated(values.map(serialise))
    | mutated(values.map(spaced))
)


@pytest.fixture(scope="session")
def compiled() -> ModuleType:
    """The C form, built if a compiler exists: every test environment has one."""
    assert NATIVE is not None, "no C compiler? `make environment` builds _strict_json.c"
    return NATIVE


@tried(300)
@given(FRAMES, st.sampled_from([b"", b"\r", b"\n", b" \r\n"]))
def test_both_forms_accept_the_same_and_read_it_alike(
    compiled: ModuleType, frame: bytes, end: bytes
) -> None:
    frame += end
    read = compiled.read_frame(frame, Number, LIMITS)
    try:
        value = read_text(frame, frame.decode())
    except (Refusal, UnicodeDecodeError):
        assert read is None
        return
    assert read is not None
    assert equal(read[0], value)
    assert read[1] == (one_line(frame, frame.decode()) is frame)


@tried(100)
@given(values, st.integers(1, 12))
def test_both_forms_have_the_same_limits(
    compiled: ModuleType, value: JsonValue, limit: int
) -> None:
    for frame in (serialise(value), spaced(value)):
        deep = compiled.read_frame(frame, Number, (limit, MAX_NODES, MAX_KEYS)) is None
        many = compiled.read_frame(frame, Number, (MAX_DEPTH, limit, MAX_KEYS)) is None
        assert deep == nests_deeper_than(value, limit)
        assert many == holds_more_than(frame, limit)
    keys = b"{" + b",".join(b'"%d":[]' % number for number in range(limit)) + b"}"
    assert compiled.read_frame(keys, Number, (2, 99, limit)) is not None
    assert compiled.read_frame(keys, Number, (2, 99, limit - 1)) is None


def test_a_remembered_number_has_the_type_that_is_wanted(compiled: ModuleType) -> None:
    for kind in (Number, str, Number):
        value, _ = compiled.read_frame(b"[-1.5,7]", kind, LIMITS)
        assert [type(item) for item in value] == [kind, kind]


def test_without_the_form_in_c_the_same_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    frames = [b'{"id":1,"a":["\\n",1.0]}', b"[1]\n", '["\x85"]'.encode()]
    expected = [read_json(frame) for frame in frames]
    monkeypatch.setattr(strict_json, "_NATIVE", None)
    assert [read_json(frame) for frame in frames] == expected


@tried(100)
@given(FRAMES, st.sampled_from([b"", b"\r", b"\n", b" \r\n"]))
def test_a_frame_with_its_value_becomes_the_same_line(frame: bytes, end: bytes) -> None:
    frame += end
    try:
        value, line = read_json(frame)
    except Refusal:
        return
    again, same = read_json(ParsedFrame.of(frame))
    assert equal(again, value)
    assert same == line


@pytest.mark.slow
def test_the_c_form_leaves_no_byte_of_its_frame(tmp_path: Path) -> None:
    source = Path(strict_json.__file__).with_name("_strict_json.c")
    run_sanitized(source, FUZZING, tmp_path, 60000)


FUZZING = r"""
from _strict_json import find_id, read_envelope, read_frame, write_canonical, write_value
PARTS = [*b'"\\{}[],: \n-0', *b"\0\xc2\xff", 0xE2, 0x80, 0xA8]
PARTS = [bytes([part]) for part in PARTS]
PARTS += [rb"\ud83d", rb"\ude00", rb"\u00", b"1.", b"e+", b"nul", b"true", b"9" * 28]
TEXT = r'{"type":"text","text":"a \"b\" \n Zoë\u00e9\u4e2d\ud83d\ude00 and so on"}'
FRAME = '{"id":-1.5e+10,"result":{"content":[%s,[true,false,null,0]],"%s":{}}} '
FRAME = (FRAME % (TEXT, "k" * 27)).encode()
for number in range(TRIES):
    frame = bytearray(FRAME if number % 4 else FRAME[number // 4 % len(FRAME):])
    for _ in range(dice.choice([0, 1, 1, 2, 5])):
        at = dice.randrange(len(frame) + 1)
        frame[at:at + dice.choice([0, 0, 1, 8])] = dice.choice(PARTS)
    if number % 3:
        del frame[dice.randrange(len(frame) + 1):]
    find_id(bytes(frame))
    limits = dice.choice([1, 3, 64]), dice.choice([5, 999]), dice.choice([1, 99])
    read = read_frame(bytes(frame), str, limits)
    if read:
        read_envelope(read[0], str)
        write_value(read[0], str, dice.choice([0, 9, 99, 9999]))
        write_canonical(read[0], str)
class Number(str): pass
TEXTS = ["2.0", "", "x", "7", "-", "0", "\x7f", "Zo\xeb", "\ud800", "n" * 40, "n" * 2000]
for number in range(TRIES):
    value = {}
    for name in dice.sample(["jsonrpc", "id", "method", "params", "result", "error", "x"], 4):
        value[name] = dice.choice([str, Number])(dice.choice(TEXTS))
    if number % 3:
        value["jsonrpc"] = "2.0"
        value["params"] = {dice.choice(TEXTS) + dice.choice("aA"): None for _ in range(number % 12)}
        value["size"] = Number(dice.choice(["1", "-7", "-0", "1.0", "9" * 16, "", "-"]))
        value["params"].update({"_meta": {}} if number % 5 else {"_meta": None})
    read_envelope(value, Number)
    value["list"] = [dice.choice(TEXTS) + dice.choice('\\x85\\u2028\\u2029"\\n\\xe9\\u2030') * 9]
    value[Number("n")] = dice.choice([Number("1"), True, False, None, [], {}, 1, (), {1: 1}])
    for _ in range(number % 80):
        value = dice.choice([[value], {"v": value}])
    write_value(value, Number, dice.choice([50, 500, 50000]))
    write_canonical(value, Number)
"""


# --- size and depth ----------------------------------------------------------------------------


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
        b"[" * (MEBIBYTE // 2) + b"]" * (MEBIBYTE // 2),
        b'{"id":1,"a":' + b"[" * MEBIBYTE,
        (b"[" * 65 + b"]" * 65) * (MEBIBYTE // 130),
    ],
    ids=range(4),
)
def test_a_nesting_bomb_is_refused_on_the_stack_that_threads_have(bomb: bytes) -> None:
    refusals: list[Refusal] = []
    threading.stack_size(STACK_BYTES)
    thread = threading.Thread(target=lambda: refusals.append(refused(bomb)), daemon=True)
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


@tried(60)
@given(st.lists(texts, min_size=2, max_size=6))
def test_a_key_that_stands_twice_is_refused(keys: list[str]) -> None:
    members = b",".join(spaced(key) + b":0" for key in keys)
    twice = len(set(keys)) < len(keys)
    assert rule_of(b"{" + members + b"}") == ("protocol.duplicate-key" if twice else None)


@tried(30)
@given(values)
def test_a_parsed_frame_is_its_bytes_and_is_not_read_again(value: JsonValue) -> None:
    frame = serialise(value)
    parsed = ParsedFrame.of(frame)
    assert parsed == frame
    assert read_json(parsed) == (value, frame)
    assert read_json(parsed)[0] is parsed.value
    assert type(without_value(parsed)) is bytes
    assert without_value(parsed) == frame
    assert without_value(frame) is frame
    written = ParsedFrame.write(value)
    assert (written, parse_json(written)) == (frame, value)
    assert parse_json(written) is value


def test_a_value_that_nests_too_deep_is_written_and_read_by_nobody() -> None:
    deepest = nested = cast(JsonValue, [])
    for _ in range(MAX_DEPTH):
        deepest, nested = nested, [nested]
    assert isinstance(ParsedFrame.write(deepest), ParsedFrame)
    with pytest.raises(Refusal):
        parse_json(ParsedFrame.write(nested))


def test_what_is_no_strict_json_is_no_parsed_frame() -> None:
    for frame in (b'{"a":1,"a":2}', b"NaN", b"\xff", b""):
        with pytest.raises(Refusal):
            ParsedFrame.of(frame)
