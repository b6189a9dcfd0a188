"""Name queries: their form, and that none is forwarded."""

import random
import struct
from ipaddress import IPv4Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeguard.isolation.egress.dns import (
    NETWORK,
    DnsError,
    DnsQuestion,
    NameAddresses,
    ResponseCode,
    answer,
    parse_question,
)
from tests.each import each


def query(name: str, kind: int = 1, flags: int = 0x0100, extra: bytes = b"") -> bytes:
    labels = b"".join(bytes((len(label),)) + label.encode() for label in name.split(".") if label)
    counts = (1, 0, 0, 1 if extra else 0)
    return (
        struct.pack("!6H", 7, flags, *counts) + labels + b"\0" + struct.pack("!2H", kind, 1) + extra
    )


EDNS = b"\0\0\x29\x04\xd0\0\0\0\0\0\0"
QUESTION = parse_question(query("Api.GitHub.com"))


def test_a_question_is_read() -> None:
    raw = query("Api.GitHub.com")[12:]
    assert DnsQuestion(7, 0x0100, "Api.GitHub.com", 1, raw) == QUESTION
    assert parse_question(query("a.b", kind=28, extra=EDNS)).kind == 28


def test_an_answer_has_the_question_and_an_address() -> None:
    message = answer(QUESTION, IPv4Address("11.128.0.1"))
    assert message[:12] == struct.pack("!6H", 7, 0x8180, 1, 1, 0, 0)
    assert message[12:].startswith(QUESTION.raw)
    record = message[12 + len(QUESTION.raw) :]
    assert record == struct.pack("!3HIH", 0xC00C, 1, 1, 60, 4) + bytes((11, 128, 0, 1))


def test_a_name_without_a_record_of_the_type_has_an_empty_answer() -> None:
    question = parse_question(query("a.b", kind=28))
    empty = struct.pack("!6H", 7, 0x8180, 1, 0, 0, 0) + question.raw
    assert answer(question, None) == answer(question, IPv4Address("11.128.0.1")) == empty


def test_a_name_that_is_not_to_be_reached_does_not_exist() -> None:
    message = answer(QUESTION, None, ResponseCode.NO_SUCH_NAME)
    assert message == struct.pack("!6H", 7, 0x8183, 1, 0, 0, 0) + QUESTION.raw


HEADER = struct.Struct("!6H")
BAD = {
    "empty": (b"", None),
    "short": (b"\0" * 11, None),
    "a response": (query("a", flags=0x8100), None),
    "another operation": (query("a", flags=0x2800), 4),
    "no question": (HEADER.pack(7, 0, 0, 0, 0, 0), 1),
    "two questions": (HEADER.pack(7, 0, 2, 0, 0, 0) + query("a")[12:] * 2, 1),
    "an answer": (HEADER.pack(7, 0, 1, 1, 0, 0) + query("a")[12:], 1),
    "many extras": (HEADER.pack(7, 0, 1, 0, 0, 2) + query("a")[12:], 1),
    "truncated": (query("a", flags=0x0200), 1),
    "cut in a label": (query("abc")[:14], 1),
    "cut before the type": (query("abc")[:-4], 1),
    "cut in the type": (query("abc")[:-1], 1),
    "a pointer": (HEADER.pack(7, 0, 1, 0, 0, 0) + b"\xc0\x0c\0\1\0\1", 1),
    "a long label": (HEADER.pack(7, 0, 1, 0, 0, 0) + b"\x40" + b"a" * 64 + b"\0\0\1\0\1", 1),
    "a long name": (query(".".join(["a" * 60] * 5)), 1),
    "a long message": (query("a") + b"\0" * 512, 1),
    "another class": (query("a")[:-2] + b"\0\3", 5),
}


@each("case", list(BAD))
def test_what_is_no_question_has_a_code_or_no_answer(case: str) -> None:
    message, code = BAD[case]
    with pytest.raises(DnsError) as raised:
        parse_question(message)
    response = raised.value.response
    assert (response and response[3] & 15) == code


@given(st.binary(max_size=600) | st.binary(max_size=80).map(lambda b: query("x.y")[:13] + b))
def test_any_message_is_a_question_or_an_error(message: bytes) -> None:
    try:
        question = parse_question(message)
    except DnsError:
        return
    assert question.name.isascii()
    assert question.name.isprintable()
    assert question.raw in message


def test_a_changed_question_is_read_or_refused() -> None:
    die = random.Random(5)  # noqa: S311  the same on every run
    whole = query("api.example.com", extra=EDNS)
    for _ in range(5000):
        message = bytearray(whole)
        for _ in range(die.randint(1, 4)):
            message[die.randrange(len(message))] = die.randrange(256)
        try:
            assert len(answer(parse_question(bytes(message)), None)) <= len(whole)
        except DnsError:
            continue


def test_each_name_has_one_address() -> None:
    names = NameAddresses(limit=2)
    first = names.give_address("a.example")
    assert first is not None
    assert first in NETWORK
    assert names.give_address("a.example") == first
    assert names.find_host(first) == "a.example"
    assert names.give_address("b.example") not in (None, first)
    assert names.give_address("c.example") is None
    assert names.give_address("a.example") == first


@each("text", ["11.128.0.0", "11.128.0.1", "11.255.255.255", "127.0.0.1", "8.8.8.8", "0.0.0.1"])
def test_an_address_without_a_name_has_none(text: str) -> None:
    assert NameAddresses().find_host(IPv4Address(text)) == IPv4Address(text)
