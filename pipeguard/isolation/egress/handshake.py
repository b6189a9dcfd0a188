"""What a client of the proxy asks for: bytes in, a target out; HTTP or SOCKS5 by the first byte.

No I/O: bytes may come in any pieces. One connection asks for one thing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipeguard.isolation.egress import replies, socks
from pipeguard.isolation.egress.http_body import RequestBody
from pipeguard.isolation.egress.http_head import (
    END_OF_HEAD,
    MAX_HEAD_BYTES,
    HeadError,
    parse_head,
)
from pipeguard.isolation.egress.judge import EgressReason, EgressWay

if TYPE_CHECKING:
    from pipeguard.isolation.egress.hosts import HostAndPort


class HandshakeError(Exception):
    """A client to refuse before anything is judged.

    Attributes:
        way: by what its first byte says that it speaks.
        reason: `MALFORMED` or `UNSUPPORTED`.
        response: what to send before closing; may be empty.
    """

    def __init__(self, way: EgressWay, reason: EgressReason, response: bytes = b"") -> None:
        super().__init__(reason.value)
        self.way = way
        self.reason = reason
        self.response = response


@dataclass(frozen=True, slots=True)
class EgressRequest:
    """What one connection asks for.

    Attributes:
        way: how.
        target: the host and port.
        to_client: sent to the client when the host is connected.
        to_host: sent to the host first: the head of a request.
        early: what came of the client behind its request.
        body: where the request ends; None for a tunnel.
    """

    way: EgressWay
    target: HostAndPort
    to_client: bytes = b""
    to_host: bytes = b""
    early: bytes = b""
    body: RequestBody | None = None


class ProxyHandshake:
    """The beginning of one connection to the proxy."""

    def __init__(self) -> None:
        self._data = b""
        self._is_greeted = False

    @property
    def has_begun(self) -> bool:
        """Whether the client sent anything."""
        return bool(self._data) or self._is_greeted

    @property
    def way(self) -> EgressWay:
        """By what came so far."""
        if self._is_greeted or self._data[:1] == bytes((socks.VERSION,)):
            return EgressWay.SOCKS5
        return EgressWay.CONNECT if self._data.startswith(b"CONNECT ") else EgressWay.HTTP

    def feed(self, data: bytes) -> tuple[bytes, EgressRequest | None]:
        """Take bytes; returns what to send back, and what is asked for if that is complete.

        Raises:
            HandshakeError: the client is to be refused.
        """
        self._data += data
        if self.way is EgressWay.SOCKS5:
            return self._feed_socks()
        return b"", self._feed_http()

    def _feed_socks(self) -> tuple[bytes, EgressRequest | None]:
        response = b""
        try:
            if not self._is_greeted:
                length = socks.greeting_length(self._data)
                if length is None:
                    return b"", None
                self._data = self._data[length:]
                self._is_greeted = True
                response = socks.GREETING_REPLY
            request = socks.parse_request(self._data)
        except socks.SocksError as error:
            raise HandshakeError(
                EgressWay.SOCKS5, _reason(error), response + error.response
            ) from None
        if request is None:
            return response, None
        target, length = request
        opened = socks.reply(socks.SocksCode.SUCCEEDED)
        return response, EgressRequest(EgressWay.SOCKS5, target, opened, early=self._data[length:])

    def _feed_http(self) -> EgressRequest | None:
        end = self._data.find(END_OF_HEAD)
        if end + len(END_OF_HEAD) > MAX_HEAD_BYTES or (end < 0 and self._is_too_long()):
            raise HandshakeError(self.way, EgressReason.MALFORMED, replies.HEAD_TOO_LARGE)
        if end < 0:
            if not self._data[:1].isalpha():
                raise HandshakeError(self.way, EgressReason.MALFORMED)
            return None
        end += len(END_OF_HEAD)
        try:
            request = parse_head(self._data[:end])
        except HeadError as error:
            response = replies.bad_request(str(error))
            raise HandshakeError(self.way, _reason(error), response) from None
        early = self._data[end:]
        if request.head is None:
            return EgressRequest(EgressWay.CONNECT, request.target, replies.CONNECTED, early=early)
        body = RequestBody(request.length)
        return EgressRequest(EgressWay.HTTP, request.target, b"", request.head, early, body)

    def _is_too_long(self) -> bool:
        return len(self._data) >= MAX_HEAD_BYTES


def _reason(error: HeadError | socks.SocksError) -> EgressReason:
    return EgressReason.UNSUPPORTED if error.is_unsupported else EgressReason.MALFORMED
