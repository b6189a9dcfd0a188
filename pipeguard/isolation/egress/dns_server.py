"""Answers a sandbox's questions for names; nothing of them goes any further."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from ipaddress import IPv4Address
from typing import TYPE_CHECKING, cast

from pipeguard.isolation.egress import dns
from pipeguard.isolation.egress.hosts import HostError, is_localhost, parse_host
from pipeguard.isolation.egress.judge import EgressReason, EgressRecord, EgressWay

if TYPE_CHECKING:
    from pipeguard.isolation.egress.state import EgressState

_LOCALHOST = IPv4Address("127.0.0.1")  # RFC 6761, 6.3


class DnsResponder(asyncio.DatagramProtocol):
    """Messages in, messages out.

    Args:
        state: the current rules, the names' addresses, and the receiver of reports on names without
            a rule.
    """

    _transport: asyncio.DatagramTransport

    def __init__(self, state: EgressState) -> None:
        self._state = state

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Provide a way to answer."""
        self._transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        """Answer one message."""
        response = self._respond(data)
        if response is not None:
            self._transport.sendto(response, addr)

    def close(self) -> None:
        """Stop answering."""
        self._transport.close()

    def _respond(self, message: bytes) -> bytes | None:
        try:
            question = dns.parse_question(message)
        except dns.DnsError as error:
            return error.response
        name = ""
        with suppress(HostError):
            host = parse_host(question.name)
            name = host if isinstance(host, str) else ""
        if not name or not (is_localhost(name) or self._state.rules.allowed_ports(name)):
            return self._refuse(question, name or question.name, EgressReason.HOST)
        if question.kind != dns.TYPE_A:
            return dns.answer(question, None)
        address = _LOCALHOST if is_localhost(name) else self._state.names.give_address(name)
        if address is None:
            return self._refuse(question, name, EgressReason.TOO_MANY)
        return dns.answer(question, address)

    def _refuse(self, question: dns.DnsQuestion, name: str, reason: EgressReason) -> bytes:
        host = name[: dns.MAX_NAME_BYTES].lower()
        self._state.report(EgressRecord(EgressWay.DNS, host, 0, reason=reason))
        return dns.no_such_name(question)
