"""A tunnel through the proxy of the user's own network, asked for by CONNECT (RFC 9110, 9.3.6)."""

import asyncio
import re

from pipeguard.isolation.egress import hosts, http_head, judge, outer_proxy, state, tunnel

_STATUS = re.compile(rb"HTTP/1\.[01] ([1-5][0-9]{2})(?: [\t\x20-\x7e\x80-\xff]*)?")
_LINE = re.compile(rb"[\t\x20-\x7e\x80-\xff]*")


_WORDS = {
    "407": "your network's proxy demands a login: write it as http://USER:PASSWORD@HOST:PORT",
    "TLS": "Your proxy does not speak TLS, or its certificate is not trusted. Set SSL_CERT_FILE"
    " to a file with its CA",
    "4": "your network's proxy refuses this host or port",
    "5": "your network's proxy cannot reach it",
    "MALFORMED": "the answer of your network's proxy cannot be read",
    "": "your network's proxy cannot be reached",
}


class OuterTunnelError(OSError):
    """The proxy did not open a tunnel.

    Args:
        name: a status, or an error.
        words: the reason; by default the text for the name.
    """

    def __init__(self, name: str, words: str = "") -> None:
        words = words or _WORDS.get(name) or _WORDS.get(name[:1]) or _WORDS[""]
        super().__init__(f"{judge.OF_A_PROXY}{name}; {words}")


def connect_request(target: hosts.HostAndPort, proxy: outer_proxy.OuterProxy) -> bytes:
    """The request to a proxy, with the host in the form that was judged."""
    lines = [f"CONNECT {target} HTTP/1.1".encode(), f"Host: {target}".encode()]
    if proxy.authorization:
        lines.append(b"Proxy-Authorization: " + proxy.authorization)
    return b"\r\n".join((*lines, b"", b""))


def read_answer(data: bytes) -> bytes | None:
    """The bytes after a proxy's answer that opens the tunnel; None while it is incomplete.

    Raises:
        OuterTunnelError: it does not open it, or cannot be read.
    """
    rest = data
    while True:
        head, end, rest = rest.partition(http_head.END_OF_HEAD)
        if len(data) - len(rest) > http_head.MAX_HEAD_BYTES or b"\n\n" in head:
            raise OuterTunnelError("MALFORMED")
        if not end:
            return None
        status = _status(head)
        if status >= 300:
            raise OuterTunnelError(str(status))
        if status >= 200:
            return rest


def _status(head: bytes) -> int:
    line, *lines = head.split(b"\r\n")
    match = _STATUS.fullmatch(line)
    if match is None or not all(map(_LINE.fullmatch, lines)) or match[1] == b"101":
        raise OuterTunnelError("MALFORMED")
    return int(match[1])


class OuterTunnelEnd(tunnel.TunnelEnd):
    """A connection to the proxy, which leads to the host once the proxy has opened the tunnel."""

    def __init__(
        self, buffer: state.ReadBuffer, loop: asyncio.AbstractEventLoop, request: bytes
    ) -> None:
        super().__init__(buffer)
        self._request = request
        self._answer = b""
        self._opened: asyncio.Future[None] = loop.create_future()

    async def open(self) -> None:
        """Request the tunnel, and wait until it is open.

        Raises:
            OSError: it is not opened.
        """
        try:
            if not self.transport.is_closing():  # uvloop's raises RuntimeError
                self.transport.write(self._request)
            await self._opened
        except BaseException:
            self.abort()
            raise

    def buffer_updated(self, nbytes: int) -> None:
        """Read the proxy's answer; forward later bytes, which are the host's."""
        if self._opened.done():
            super().buffer_updated(nbytes)
            return
        self._answer += self._buffer.contents(nbytes)
        try:
            rest = read_answer(self._answer)
        except OuterTunnelError as error:
            self._fail(error)
            return
        if rest is not None:
            self._early = rest
            self.transport.pause_reading()
            self._opened.set_result(None)

    def eof_received(self) -> bool:
        """Fail if the proxy closes before it answers."""
        if not self._opened.done():
            self._fail(OuterTunnelError("ECONNRESET"))
            return False
        return super().eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        """Fail if the connection ends before the tunnel is open."""
        self._fail(OuterTunnelError("ECONNRESET"))
        super().connection_lost(exc)

    def _fail(self, error: OuterTunnelError) -> None:
        if not self._opened.done():
            self._opened.set_exception(error)
            self._opened.exception()  # its requester may be gone
            self.transport.abort()
