"""Base64 as tokens are written in it."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeguard.detect.checks.placeholders import base64_decoded
from tests.fuzz.budget import tried


@tried(100)
@given(st.binary(max_size=60), st.booleans(), st.booleans())
def test_either_alphabet_is_read_padded_or_not(data: bytes, safe: bool, padded: bool) -> None:
    text = base64.urlsafe_b64encode(data) if safe else base64.b64encode(data)
    assert base64_decoded(text if padded else text.rstrip(b"=")) == data


@pytest.mark.parametrize("text", [b"a", b"ab c", b"a.b", b"ab=c", b"\xff\xff\xff\xff", b"abcde"])
def test_what_is_no_base64_is_none(text: bytes) -> None:
    assert base64_decoded(text) is None
