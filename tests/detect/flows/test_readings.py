"""Encodings in a text are read, two layers deep."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeguard.detect.flows.readings import list_readings
from tests.fuzz.budget import tried


@pytest.mark.parametrize(
    "encode",
    [
        base64.b64encode,
        lambda text: base64.b64encode(base64.b64encode(text)),
        lambda text: text.hex().encode(),
        lambda text: b"".join(b"%%%02X" % byte for byte in text),
        lambda text: b" ".join(b"%02x" % byte for byte in text),
        lambda text: b", ".join(base64.b64encode(text)[at : at + 9] for at in range(0, 60, 9)),
    ],
    ids=range(6),
)
def test_what_is_encoded_is_read(encode) -> None:  # type: ignore[no-untyped-def]
    text = b"the plant in the valley closes by spring"
    found = list_readings(b"see: " + encode(text))
    assert any("the plant in the valley" in reading for reading in found)


@tried(100)
@given(st.binary(max_size=300))
def test_any_bytes_are_read(text: bytes) -> None:
    assert list_readings(text)[0] == text.decode("utf-8", "ignore")
