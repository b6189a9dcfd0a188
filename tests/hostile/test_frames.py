"""Frames of a hostile client over WebSocket: row 94, and the codes of RFC 6455, section 7.4.1."""

import base64
import hashlib
import json
import os
import struct
import zlib
from collections.abc import Sequence

import pytest

from tests.hostile.conftest import Hop
from tests.hostile.wire import HERE, INITIALIZED, OPENING, Talk, Upstream, ask, request

MIB = 2**20
LIMIT_BYTES = 16 * MIB  # of a frame, by default
CONTINUED, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
MALFORMED, NOT_TEXT, NOT_UTF_8, TOO_LARGE = 1002, 1003, 1007, 1009
GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455, section 1.3
MESSAGE = json.dumps(ask("prompts/list"), ensure_ascii=False).encode()


def frame(
    opcode: int, payload: bytes, *, end: bool = True, masked: bool = True, bits: int = 0
) -> bytes:
    """One frame (RFC 6455, section 5.2)."""
    first = (0x80 if end else 0) | bits | opcode
    size, mask_bit = len(payload), 0x80 if masked else 0
    if size < 126:
        head = struct.pack("!BB", first, mask_bit | size)
    elif size < 2**16:
        head = struct.pack("!BBH", first, mask_bit | 126, size)
    else:
        head = struct.pack("!BBQ", first, mask_bit | 127, size)
    if not masked:
        return head + payload
    mask = os.urandom(4)
    key = int.from_bytes((mask * (size // 4 + 1))[:size])
    mixed = (int.from_bytes(payload) ^ key).to_bytes(size) if size else b""
    return head + mask + mixed


class Socket:
    """An open WebSocket."""

    def __init__(self, talk: Talk, extensions: str) -> None:
        self.talk = talk
        self.extensions = extensions

    def read(self) -> tuple[int, bytes]:
        """The next frame of the server: its opcode and its payload."""
        first, second = self.talk.exactly(2)
        assert not second & 0x80, "a server masks nothing"
        size = second & 0x7F
        if size == 126:
            (size,) = struct.unpack("!H", self.talk.exactly(2))
        elif size == 127:
            (size,) = struct.unpack("!Q", self.talk.exactly(8))
        return first & 0x0F, self.talk.exactly(size)

    def answer(self, id_: int) -> object:
        """The message that answers this id; others, and pings, are passed over."""
        while True:
            opcode, payload = self.read()
            assert opcode != CLOSE, payload
            if opcode == TEXT and (message := json.loads(payload)).get("id") == id_:
                return message

    def code(self) -> int:
        """The code with which the server closes."""
        while True:
            opcode, payload = self.read()
            if opcode == CLOSE:
                return int.from_bytes(payload[:2])


def upgraded(talk: Talk, *more: str, path: str = "/ws") -> tuple[int, dict[str, str]]:
    """Ask for an upgrade; return the status and the headers of the answer."""
    key = base64.b64encode(os.urandom(16)).decode()
    headers = [f"Host: {HERE}", "Connection: Upgrade", "Upgrade: websocket"]
    headers += ["Sec-WebSocket-Version: 13", f"Sec-WebSocket-Key: {key}", *more]
    talk.send(request(f"GET {path} HTTP/1.1", headers))
    status, found = talk.head()
    named = dict(found)
    if status == 101:
        expected = base64.b64encode(hashlib.sha1(key.encode() + GUID.encode()).digest())  # noqa: S324  WebSocket's own (RFC 6455, 4.2.2)
        assert named["sec-websocket-accept"] == expected.decode()
    return status, named


def opened(talk: Talk, *more: str) -> Socket:
    """Open a WebSocket and a session on it."""
    status, named = upgraded(talk, "Sec-WebSocket-Protocol: mcp", *more)
    assert status == 101, (status, named)
    assert named.get("sec-websocket-protocol") == "mcp"
    found = Socket(talk, named.get("sec-websocket-extensions", ""))
    talk.send(frame(TEXT, json.dumps(OPENING).encode()))
    assert "result" in str(found.answer(1))
    talk.send(frame(TEXT, json.dumps(INITIALIZED).encode()))
    return found


BAD = {
    "not masked": ([frame(TEXT, MESSAGE, masked=False)], MALFORMED),
    "a large ping": ([frame(PING, b"a" * MIB)], MALFORMED),
    "a ping too large by one": ([frame(PING, b"a" * 126)], MALFORMED),
    "a ping in parts": ([frame(PING, b"a", end=False)], MALFORMED),
    "a reserved bit": ([frame(TEXT, MESSAGE, bits=0x20)], MALFORMED),
    "an unknown opcode": ([frame(3, MESSAGE)], MALFORMED),
    "the rest of nothing": ([frame(CONTINUED, MESSAGE)], MALFORMED),
    "two at once": ([frame(TEXT, b"{", end=False), frame(TEXT, MESSAGE)], MALFORMED),
    "half a code": ([frame(CLOSE, b"\x03")], MALFORMED),
    "a code of nothing": ([frame(CLOSE, struct.pack("!H", 999))], MALFORMED),
    "binary": ([frame(BINARY, MESSAGE)], NOT_TEXT),
    "no utf-8": ([frame(TEXT, b'{"a":"\xff"}')], NOT_UTF_8),
    "half a character": ([frame(TEXT, MESSAGE[:-1] + b"\xc3")], NOT_UTF_8),
    "too large": ([frame(TEXT, b" " * (LIMIT_BYTES + 1))], TOO_LARGE),
    "parts without end": (
        [frame(TEXT, b"[", end=False), *[frame(CONTINUED, b" " * MIB, end=False)] * 17],
        TOO_LARGE,
    ),
}


@pytest.mark.parametrize(("sent", "code"), BAD.values(), ids=BAD)
def test_94_a_bad_frame_ends_the_connection(
    hop: Hop, upstream: Upstream, sent: Sequence[bytes], code: int
) -> None:
    with hop.talk() as talk:
        found = opened(talk)
        upstream.seen.clear()
        talk.send(*sent)
        assert found.code() == code
    assert upstream.calls("prompts/list") == []


def test_94_a_message_that_swells_ends_the_connection(hop: Hop) -> None:
    with hop.talk() as talk:
        found = opened(talk, "Sec-WebSocket-Extensions: permessage-deflate")
        packer = zlib.compressobj(9, zlib.DEFLATED, -15)
        packed = packer.compress(b" " * (64 * MIB)) + packer.flush(zlib.Z_SYNC_FLUSH)
        talk.send(frame(TEXT, packed[:-4], bits=0x40))
        assert found.code() == (TOO_LARGE if "deflate" in found.extensions else MALFORMED)


def test_94_a_character_may_be_cut_between_frames(hop: Hop, upstream: Upstream) -> None:
    text = json.dumps(ask("prompts/list", cursor="é 日本 😀"), ensure_ascii=False).encode()
    with hop.talk() as talk:
        found = opened(talk)
        upstream.seen.clear()
        parts = [text[n : n + 1] for n in range(len(text))]
        first, *rest = parts
        sent = frame(TEXT, first, end=False)
        sent += b"".join(frame(CONTINUED, part, end=False) for part in rest[:-1])
        talk.send(sent + frame(CONTINUED, rest[-1]))
        assert "result" in str(found.answer(7))
    (seen,) = upstream.calls("prompts/list")
    assert seen.body == text


def test_94_a_ping_is_answered(hop: Hop) -> None:
    with hop.talk() as talk:
        found = opened(talk)
        talk.send(frame(PING, b"still there"))
        assert found.read() == (PONG, b"still there")


@pytest.mark.parametrize("origin", ["https://attacker.example", "null"])
@pytest.mark.parametrize("path", ["/ws", "/mcp"])
def test_94_an_upgrade_for_another_origin_is_refused(
    hop: Hop, upstream: Upstream, path: str, origin: str
) -> None:
    more = [f"Origin: {origin}", "Sec-WebSocket-Protocol: mcp"]
    with hop.talk() as talk:
        assert upgraded(talk, *more, path=path)[0] == 403
    assert upstream.seen == []


@pytest.mark.parametrize("more", [[], ["Sec-WebSocket-Protocol: graphql-ws"]])
def test_94_no_protocol_is_agreed_to_but_ours(hop: Hop, more: Sequence[str]) -> None:
    with hop.talk() as talk:
        status, named = upgraded(talk, *more)
        assert status == 101 or more, "a client that names none is served"
        assert status != 101 or "sec-websocket-protocol" not in named
