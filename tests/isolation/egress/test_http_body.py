"""The end of a request's body, in any pieces."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeguard.isolation.egress.http_head import BodyError, RequestBody
from tests.each import each

CHUNKS = b"5\r\nhello\r\nA;x=1\r\n0123456789\r\n0\r\nX-Sum: 1\r\n\r\n"


def taken(data: bytes, length: int | None, step: int) -> tuple[int, bool]:
    """Count the bytes of the body, and tell whether it is complete."""
    body, total = RequestBody(length), 0
    for at in range(0, len(data), step):
        piece = data[at : at + step]
        count = body.take(piece)
        total += count
        if count < len(piece):
            break
    return total, body.is_whole


@each("step", [1, 2, 3, 5, 100])
def test_a_body_ends_where_it_says(step: int) -> None:
    assert taken(b"abcGET http://other/", 3, step) == (3, True)
    assert taken(b"GET http://other/", 0, step) == (0, True)
    assert taken(b"ab", 3, step) == (2, False)
    assert taken(CHUNKS + b"GET http://other/", None, step) == (len(CHUNKS), True)
    assert taken(CHUNKS[:-1], None, step) == (len(CHUNKS) - 1, False)


@each(
    "data",
    [
        *(b"x\r\n", b"\r\n", b"5\r\nhelloGET", b"5\r\nhello\rX", b"5\nhello\r\n"),
        *(b"5\r\nhelloX\r\n", b"5\r\nhello\n0\r\n\r\n"),
        *(b"-1\r\n", b"0x5\r\n", b" 5\r\n", b"5\r\r\n", b"1" * 20 + b"\r\n", b"5;\x00\r\n"),
        *(b"0\r\nbad\r\n\r\n", b"0\r\nHost: b\r\n\r\n", b"0\r\nContent-Length: 1\r\n\r\n"),
        *(b"5;" + b"a" * 2000, b"0\r\n" + b"X: 1\r\n" * 100),
    ],
)
def test_chunks_of_another_form_are_an_error(data: bytes) -> None:
    for step in (1, 4, 10**6):
        with pytest.raises(BodyError):
            taken(data, None, step)


@given(st.lists(st.binary(min_size=1, max_size=50), max_size=5), st.binary(max_size=20), st.data())
def test_any_chunks_end_where_they_end(
    chunks: list[bytes], behind: bytes, data: st.DataObject
) -> None:
    body = b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n\r\n"
    step = data.draw(st.integers(1, len(body) + 1))
    assert taken(body + behind, None, step) == (len(body), True)


@given(st.binary(max_size=200), st.integers(1, 50))
def test_any_bytes_are_a_body_or_an_error(data: bytes, step: int) -> None:
    try:
        total, _ = taken(data, None, step)
    except BodyError:
        return
    assert total <= len(data)
