"""Frames of WebSocket clients: masked, and no flood of almost empty ones."""

from __future__ import annotations

import struct
from itertools import repeat

import pytest

from pipeguard.transports.http.server.connections import _FrameMasks

TEXT, PART, BEGIN, PING, PONG = 0x81, 0x00, 0x01, 0x89, 0x8A
MANY = 20_000


def frame(first: int, length: int, masked: int = 0x80) -> bytes:
    if length < 126:
        size = bytes([masked | length])
    else:
        size = bytes([masked | 127]) + struct.pack(">Q", length)
    return bytes([first]) + size + (b"mask" if masked else b"") + b"x" * length


@pytest.mark.parametrize(
    ("first", "length"), [(PING, 0), (PONG, 0), (PING, 125), (TEXT, 0), (TEXT, 2), (PART, 1)]
)
def test_a_flood_of_small_frames_ends_the_connection(first: int, length: int) -> None:
    masks = _FrameMasks()
    begun = frame(BEGIN, 1) if first == PART else b""
    assert masks.allow(begun + frame(first, length) * 1000, 0.0)
    assert not masks.allow(frame(first, length) * 1000, 0.1)


@pytest.mark.parametrize(
    ("frames", "seconds"),
    [
        (repeat(frame(PING, 4), 5000), 20.0),
        (repeat(frame(TEXT, 31), MANY), 0.0),
        ((frame(BEGIN, 4096), *repeat(frame(PART, 4096), 4000), frame(0x80, 1)), 0.0),
        ((frame(BEGIN, 9), *repeat(frame(PART, 9), 900), frame(0x80, 1)), 0.0),
        (repeat(frame(PONG, 0) + frame(TEXT, 40), 900), 0.0),
    ],
    ids=["pings", "messages", "parts", "words", "pongs"],
)
def test_what_honest_clients_send_goes_on(frames: repeat[bytes], seconds: float) -> None:
    masks = _FrameMasks()
    assert all(masks.allow(one, number * seconds) for number, one in enumerate(frames))


def test_a_frame_that_is_not_masked_ends_the_connection() -> None:
    assert not _FrameMasks().allow(frame(TEXT, 31) + frame(TEXT, 31, masked=0), 0.0)
