"""Answers a sandbox's questions for names, over UDP and TCP; nothing of them goes any further."""

from __future__ import annotations

import asyncio
import struct
from ipaddress import IPv4Address
from typing import TYPE_CHECKING, cast

from pipeguard.isolation.egress import dns
from pipeguard.isolation.egress.hosts import HostError, is_localhost, parse_host
from pipeguard.isolation.egress.judge import EgressOutcome, EgressReason, EgressRecord, EgressWay
from pipeguard.isolation.egress.state import OncePerMinute

if TYPE_CHECKING:
    from collections.abc import Callable

    from pipeguard.isolation.egress.dns import NameAddresses
    from pipeguard.isolation.egress.state import EgressState

STREAM_SECONDS = 10.0  # of a TCP connection, in all
MAX_STREAMS = 64
_LOCALHOST = IPv4Address("127.0.0.1")  # RFC 6761, 6.3
_LENGTH = struct.Struct("!H")


class DnsResponder:
    """Messages in, messages out.

    Args:
        state: the rules as they are now, and who is told of names that no rule has.
        names: gives each name an address of its own.
        now: seconds on a clock that only goes forward.
    """

    def __init__(self, state: EgressState, names: NameAddresses, now: Callable[[], float]) -> None:
        self._state = state
        self._names = names
        self._now = now
        self._refusals = OncePerMinute()
        self._datagrams: set[DnsDatagrams] = set()
        self._streams: set[DnsStream] = set()

    @property
    def is_open(self) -> bool:
        """True if anybody can ask."""
        return bool(self._datagrams or self._streams)

    def admit(self, stream: DnsStream) -> bool:
        """Take a TCP connection, if there is room."""
        self._streams.add(stream)
        return len(self._streams) <= MAX_STREAMS

    def attach(self, datagrams: DnsDatagrams) -> None:
        """Take a socket for UDP."""
        self._datagrams.add(datagrams)

    def forget(self, closed: DnsDatagrams | DnsStream) -> None:
        """Note that one is closed."""
        if isinstance(closed, DnsStream):
            self._streams.discard(closed)
        else:
            self._datagrams.discard(closed)

    def close(self) -> None:
        """Close everything."""
        for datagrams in tuple(self._datagrams):
            datagrams.close()
        for stream in tuple(self._streams):
            stream.close()

    def respond(self, message: bytes) -> bytes | None:
        """The answer to a message; None for one that is not answered."""
        try:
            question = dns.parse_question(message)
        except dns.DnsError as error:
            return error.response
        name = _queried_name(question)
        if name is None or not (is_localhost(name) or self._state.rules.allowed_ports(name)):
            return self._refuse(question, name or question.name, EgressReason.HOST)
        if question.kind != dns.TYPE_A:
            return dns.answer(question, None)
        address = _LOCALHOST if is_localhost(name) else self._names.give_address(name)
        if address is None:
            return self._refuse(question, name, EgressReason.TOO_MANY)
        return dns.answer(question, address)

    def _refuse(self, question: dns.DnsQuestion, name: str, reason: EgressReason) -> bytes:
        host = name[: dns.MAX_NAME_BYTES].lower()
        is_due = self._refusals.is_due(host, self._now())
        record = EgressRecord(EgressWay.DNS, EgressOutcome.REFUSED, host, 0, reason=reason)
        self._state.report(record._replace(is_repeated=not is_due))
        return dns.no_such_name(question)


def _queried_name(question: dns.DnsQuestion) -> str | None:
    """The name that is asked for; None for what is no host's."""
    try:
        host = parse_host(question.name)
    except HostError:
        return None
    return host if isinstance(host, str) else None


class DnsDatagrams(asyncio.DatagramProtocol):
    """Questions over UDP."""

    def __init__(self, responder: DnsResponder) -> None:
        self._responder = responder
        self._transport: asyncio.DatagramTransport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Provide a way to answer."""
        self._transport = cast("asyncio.DatagramTransport", transport)
        self._responder.attach(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """Be forgotten."""
        del exc
        self._responder.forget(self)

    def close(self) -> None:
        """Answer nothing any more."""
        self._transport.close()

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        """Answer one message."""
        response = self._responder.respond(data)
        if response is not None:
            self._transport.sendto(response, addr)


class DnsStream(asyncio.Protocol):
    """Questions over TCP, each with its length in front (RFC 1035, 4.2.2)."""

    def __init__(self, responder: DnsResponder, loop: asyncio.AbstractEventLoop) -> None:
        self._responder = responder
        self._loop = loop
        self._data = b""
        self._transport: asyncio.Transport
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin, if there is room."""
        self._transport = cast("asyncio.Transport", transport)
        if not self._responder.admit(self):
            self._transport.abort()
        else:
            self._timer = self._loop.call_later(STREAM_SECONDS, self._transport.abort)

    def data_received(self, data: bytes) -> None:
        """Answer each whole message."""
        self._data += data
        while len(self._data) >= _LENGTH.size and not self._transport.is_closing():
            end = _LENGTH.size + _LENGTH.unpack_from(self._data)[0]
            if end > _LENGTH.size + dns.MAX_QUERY_BYTES:
                self._transport.abort()
                return
            if len(self._data) < end:
                return
            response = self._responder.respond(self._data[_LENGTH.size : end])
            self._data = self._data[end:]
            if response is None:
                self._transport.abort()
            else:
                self._transport.write(_LENGTH.pack(len(response)) + response)

    def close(self) -> None:
        """End it at once."""
        self._transport.abort()

    def pause_writing(self) -> None:
        """It asks, and does not read the answers."""
        self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Make room."""
        del exc
        self._responder.forget(self)
        if self._timer is not None:
            self._timer.cancel()
