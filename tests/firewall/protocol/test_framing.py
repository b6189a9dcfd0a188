"""Bytes to frames: the same ones wherever the stream is cut, in bounded memory."""

import json
import tracemalloc
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeguard.firewall.protocol.framing import (
    KEPT_BYTES,
    MAX_PART,
    LineFrames,
    Oversized,
    legible_id,
    one_line,
)
from tests.fuzz.budget import tried

LIMIT = 2 * KEPT_BYTES
lines = st.one_of(
    st.binary(max_size=30).map(lambda data: data.replace(b"\n", b"")),
    st.sampled_from([b"", b" ", b"\r", b"{}\r", "\u2028\u2029\x85".encode(), b"\x00", b"\xff"]),
    st.integers(LIMIT - 2, MAX_PART * LIMIT).map(
        lambda size: bytes(i % 97 + 11 for i in range(size))
    ),
)


def frames_of(pieces: list[bytes], limit: int = LIMIT) -> list[bytes]:
    framing = LineFrames(limit)
    return [frame for piece in pieces for frame in framing.feed(piece)] + framing.end()


def cut(stream: bytes, places: list[int]) -> list[bytes]:
    ends = [0, *sorted(place % (len(stream) + 1) for place in places), len(stream)]
    return [stream[low:high] for low, high in pairwise(ends)]


def expected(line: bytes) -> bytes:
    if len(line) <= LIMIT:
        return line
    return line[:KEPT_BYTES] + line[-KEPT_BYTES:]


@tried(120)
@given(st.lists(lines, max_size=6), st.booleans(), st.lists(st.integers(0), max_size=12))
def test_a_stream_gives_the_same_frames_wherever_it_is_cut(
    lines: list[bytes], ended: bool, places: list[int]
) -> None:
    stream = b"\n".join(lines) + (b"\n" if ended else b"")
    found = frames_of(cut(stream, places))
    assert found == [expected(line) for line in lines if line and not line.isspace()]
    kept = [line for line in lines if line and not line.isspace()]
    assert [isinstance(frame, Oversized) for frame in found] == [len(one) > LIMIT for one in kept]


@pytest.mark.parametrize("step", [1, 7, KEPT_BYTES - 1, LIMIT, 5 * LIMIT])
def test_an_oversized_line_keeps_its_head_and_its_tail(step: int) -> None:
    line = b"head" + b"-" * (MAX_PART * LIMIT - 8) + b"tail"
    framing = LineFrames(LIMIT)
    found: list[bytes] = []
    for start in range(0, len(line), step):
        found += framing.feed(line[start : start + step])
    found += framing.feed(b"\nnext\n")
    assert found == [line[:KEPT_BYTES] + line[-KEPT_BYTES:], b"next"]


@pytest.mark.parametrize(("head", "rest"), [(b"head", b"head"), (b'{"id":7,"method":"a"', b"")])
def test_an_endless_line_is_told_until_it_has_its_id(head: bytes, rest: bytes) -> None:
    framing = LineFrames(LIMIT)
    assert framing.feed(head + b"-" * (MAX_PART * LIMIT - len(head))) == []
    (first,) = framing.feed(b"-")
    (more,) = framing.feed(b"-" * (MAX_PART * LIMIT + 1))
    last, after = framing.feed(b"tail\nnext\n")
    parts = [each for each in (first, more, last) if type(each) is Oversized]
    kept = [(part.head[: len(head)], part.tail[-4:], part.size) for part in parts]
    size = MAX_PART * LIMIT + 1
    assert kept == [(head, b"", size), (rest, b"", size), (rest, b"tail", 4)]
    assert [legible_id(part) for part in parts] == ["7" if head != rest else None, None, None]
    assert after == b"next"


def test_memory_is_constant_while_a_line_is_discarded() -> None:
    framing = LineFrames(LIMIT)
    framing.feed(b"a" * (LIMIT + 1))
    tracemalloc.start()
    try:
        for _ in range(2000):
            framing.feed(b"a" * KEPT_BYTES)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 8 * KEPT_BYTES


@pytest.mark.slow
def test_memory_is_that_of_the_line_however_small_the_pieces_are() -> None:
    framing = LineFrames(2**18)
    tracemalloc.start()
    try:
        for index in range(2**16):
            framing.feed(b"%02d" % (index % 100))  # a new object each, as a read gives one
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 2 * 2**18
    assert len(framing.end()[0]) == 2**17


def test_one_whole_line_in_one_read_is_the_frame() -> None:
    assert LineFrames().feed(b'{"a":1}\n') == [b'{"a":1}']
    assert LineFrames().feed(b"\n") == []
    assert LineFrames(4).feed(b"12345\n") == [b"1234512345"]


# --- one line for every reader -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("frame", "line"),
    [
        ('{"a":\r1}', '{"a": 1}'),
        ('\r{"a":1}', ' {"a":1}'),
        ('{"a":1}\r\r', '{"a":1}  '),
        ('{"a":\n1}\r\n', '{"a": 1}  '),
        ('{"a\u2028":"\u2029\x85"}', r'{"a\u2028":"\u2029\u0085"}'),
        ('{"a":\r"\u2028"}\r', r'{"a": "\u2028"} '),
    ],
)
def test_what_ends_a_line_for_some_reader_is_written_otherwise(frame: str, line: str) -> None:
    found = one_line(frame.encode(), frame)
    assert found == line.encode()
    assert json.loads(found) == json.loads(frame)


@pytest.mark.parametrize("frame", ['{"a":1}', '{"a":1}\r', '{"é":"中 — \\u2028 \\r\\n"}\r'])
def test_a_frame_that_is_one_line_stays_the_very_object(frame: str) -> None:
    encoded = frame.encode()
    assert one_line(encoded, frame) is encoded
