"""Bytes to server-sent events and back, as the HTML standard (9.2.5, 9.2.6) reads them."""

import json
import re
import tracemalloc
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeguard.firewall.protocol.framing import Oversized
from pipeguard.transports.sse import MAX_RETRY_MS, EventStream, ServerSentEvent, to_bytes
from tests.fuzz.budget import tried

LIMIT = 4096
SMALL = 64


def events_of(*pieces: bytes, limit: int = LIMIT) -> list[ServerSentEvent]:
    stream = EventStream(limit)
    return [event for piece in pieces for event in stream.feed(piece)]


def cut(stream: bytes, places: list[int]) -> list[bytes]:
    ends = [0, *sorted(place % (len(stream) + 1) for place in places), len(stream)]
    return [stream[low:high] for low, high in pairwise(ends)]


def as_the_standard_says(stream: bytes) -> list[ServerSentEvent]:
    """All events of a whole stream, by the letter of 9.2.6; a comment is one of its own here."""
    found = []
    data, name, id_, retry = "", "", None, None
    told = False
    *lines, _ = re.split("\r\n|\n|\r", stream.decode("latin-1").removeprefix("\xef\xbb\xbf"))
    for line in lines:
        field, colon, value = line.partition(":")
        value = value[1:] if value.startswith(" ") else value
        match field:
            case "" if not colon:
                if told or id_ is not None or retry is not None:
                    text = data.removesuffix("\n").encode("latin-1") if told else None
                    shown = name.encode("latin-1").decode("utf-8", "replace") or "message"
                    found.append(ServerSentEvent(text, shown, id_, retry))
                data, name, id_, retry, told = "", "", None, None, False
            case "":
                found.append(ServerSentEvent(None, comment=value.encode("latin-1")))
            case "data":
                data, told = data + value + "\n", True
            case "event":
                name = value
            case "id" if "\0" not in value:
                id_ = value.encode("latin-1").decode("utf-8", "replace")
            case "retry" if re.fullmatch("[0-9]+", value):
                retry = min(int(value), MAX_RETRY_MS)
    return found


ENDS = [b"\n", b"\r\n", b"\r"]
FIELDS = [
    *(b"data", b"data:", b"data: a", b"data:a", b"data:  a", b"data: \xc3\xa9", b"data: a:b"),
    *(b"event: message", b"event:", b"event", b"event: x", b"event:\xff", b"id", b"id: 7"),
    *(b"id: a\0b", b"id:  7", b"id: \xc3\xa9", b"id: \xff", b"retry: 5", b"retry: -5", b"retry: x"),
    *(b"retry:", b"retry: 0005", b"retry: 1e3", b"retry: 99999999999999999999", b":", b": a"),
    *(b":a", b" data: a", b"Data: a", b"other: a", b"", b"", b"", b"\xef\xbb\xbfid: 1"),
]
streams = st.lists(
    st.tuples(st.sampled_from(FIELDS) | st.binary(max_size=8), st.sampled_from(ENDS)), max_size=14
).map(lambda lines: b"".join(line + end for line, end in lines))


@tried(150)
@given(streams, st.binary(max_size=6), st.lists(st.integers(0), max_size=12))
def test_any_cutting_gives_the_events_of_the_standard(
    stream: bytes, rest: bytes, places: list[int]
) -> None:
    whole = stream + rest
    expected = as_the_standard_says(whole)
    if rest.endswith(b"\r"):  # an LF may come yet, and changes nothing
        assert events_of(*cut(whole, places), b"\n") == expected
    assert events_of(*cut(whole, places)) == expected
    assert events_of(*(whole[i : i + 1] for i in range(len(whole)))) == expected


@tried(100)
@given(streams, st.lists(st.integers(0), max_size=6))
def test_what_was_read_and_written_again_reads_the_same(stream: bytes, places: list[int]) -> None:
    found = events_of(stream)
    again = b"".join(map(to_bytes, found))
    assert events_of(*cut(again, places)) == found
    assert as_the_standard_says(again) == found


@tried(100)
@given(st.binary(max_size=40), st.none() | st.text("09az\xe9", max_size=5))
def test_no_frame_can_write_another_field(data: bytes, id_: str | None) -> None:
    """A server's text stays data, up to the line ends, which are white space in JSON."""
    (found,) = events_of(to_bytes(ServerSentEvent(data, id=id_)))
    assert found == ServerSentEvent(re.sub(b"\r\n|\r", b"\n", data), id=id_)


def test_a_frame_with_carriage_returns_between_its_values_arrives_whole() -> None:
    frame = b'{"jsonrpc":"2.0",\r"id":1,\r\n"result":{}\r}\r'
    (found,) = events_of(to_bytes(ServerSentEvent(frame)))
    assert found.data is not None
    assert json.loads(found.data) == json.loads(frame)


@pytest.mark.parametrize(
    ("stream", "expected"),
    [
        (b"data: a", []),
        (b"event: x\ndata: a\n\ndata: b\n\n", [ServerSentEvent(b"a", "x"), ServerSentEvent(b"b")]),
        (b"id: 1\nid: \0\ndata: a\n\n", [ServerSentEvent(b"a", id="1")]),
        (b"retry: 1000000000000\n\n", [ServerSentEvent(None, retry_ms=MAX_RETRY_MS)]),
        (b"retry: 000000000000005\n\n", [ServerSentEvent(None, retry_ms=5)]),
        (b"retry: " + b"9" * 2000 + b"\n\n", [ServerSentEvent(None, retry_ms=MAX_RETRY_MS)]),
        (b"retry: \xd9\xa1\n\n", []),
        (b"\n\xef\xbb\xbfdata: a\n\n", []),
        (
            b"data: a\x0b\x0c\xc2\x85\xe2\x80\xa8b\n\n",
            [ServerSentEvent(b"a\x0b\x0c\xc2\x85\xe2\x80\xa8b")],
        ),
    ],
)
def test_the_rules(stream: bytes, expected: list[ServerSentEvent]) -> None:
    assert events_of(stream) == expected
    assert events_of(*(stream[i : i + 1] for i in range(len(stream)))) == expected


# --- the limit ----------------------------------------------------------------------------------


@pytest.mark.parametrize("piece_bytes", [1, 7, 10_000])
def test_an_event_up_to_the_limit_passes_and_one_above_it_does_not(piece_bytes: int) -> None:
    fits = b"data:" + b"x" * (SMALL - 5) + b"\n\n"
    assert len(events_of(*pieces(fits, piece_bytes), limit=SMALL)) == 1
    stream = EventStream(SMALL)
    large = b"data:" + b"x" * 2 * SMALL + b"\n"
    for piece in pieces(large, piece_bytes):
        assert stream.feed(piece) == []
    assert stream.is_too_large
    event, after = stream.feed(b"\ndata: a\n\n")
    assert isinstance(event.data, Oversized)
    assert (event.data.head[:4], event.data.tail[-4:], event.data.size) == (b"xxxx",) * 2 + (
        2 * SMALL,
    )
    assert after.data == b"a", "the next one passes"
    assert not stream.is_too_large


@pytest.mark.parametrize(
    "endless", [b"x" * 8, b"data: xxxxxxx\n", b"data:\n:\n", b"id: 1\ndata:x\n:\n"]
)
def test_what_never_ends_is_an_overrun_in_bounded_memory(endless: bytes) -> None:
    stream = EventStream(2**12)
    tracemalloc.start()
    try:
        for _ in range(2**15):
            stream.feed(endless)
            if stream.overrun:
                break
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert stream.overrun
    assert peak < 8 * 2**12


@pytest.mark.parametrize(
    "awake", [b"\n", b":\n\n", b"event: ping\n\n", b"other: x\n", b"retry: x\n"]
)
def test_what_keeps_a_connection_awake_never_adds_up(awake: bytes) -> None:
    stream = EventStream(SMALL)
    for _ in range(SMALL):
        stream.feed(awake)
    assert not stream.overrun
    assert [event.data for event in stream.feed(b"data: a\n\n") if event.data] == [b"a"]


def pieces(stream: bytes, size: int) -> list[bytes]:
    return [stream[i : i + size] for i in range(0, len(stream), size)]


@pytest.mark.parametrize("end", ["\v", "\f", "\x1c", "\x1d", "\x1e", "\x85", "\u2028", "\u2029"])
@pytest.mark.parametrize(
    "field", ["id: 1{}\ndata: 1\n\n", "event: x{}\nid: 1\n\n", "event: x{}\ndata: 1\n\n", ":{}\n\n"]
)
def test_no_field_holds_lines_to_readers_that_know_more_line_ends(field: str, end: str) -> None:
    hidden = f"{end}data: 2{end}{end}"
    told = b"".join(map(to_bytes, EventStream().feed(field.format(hidden).encode())))
    assert "data: 2" not in told.decode().splitlines()
    honest = b"".join(map(to_bytes, EventStream().feed(field.format(" caf\u00e9").encode())))
    assert "caf\u00e9" in honest.decode()
