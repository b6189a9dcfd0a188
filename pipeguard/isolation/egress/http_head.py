"""The head of a request to an HTTP proxy, read strictly and rewritten (RFC 9112).

Knows CONNECT and the absolute form with `http:`. Ambiguous syntax is refused: bare line feeds,
folded lines, white space before a colon, two lengths, a length next to a transfer coding.
"""

import re
from typing import NamedTuple

from pipeguard.isolation.egress.hosts import HostAndPort, HostError, parse_authority
from pipeguard.isolation.egress.judge import EgressReason, EgressWay

MAX_LINE_BYTES = 1024  # of a chunk's size, or of a trailer
MAX_TRAILER_LINES = 64
_SIZE = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;[\x21-\x7e \t]*)?")
_TRAILER = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+:[\x21-\x7e\x80-\xff \t]*")
_FORBIDDEN = re.compile(rb"(?i)(?:host|content-length|transfer-encoding|connection):")


class BodyError(Exception):
    """Malformed chunks."""


class EgressRequestError(Exception):
    """A request to refuse before anything is judged.

    Attributes:
        reason: `MALFORMED`, or `UNSUPPORTED` if it is well-formed.
        response: the bytes to send before closing; may be empty.
    """

    def __init__(self, reason: EgressReason, response: bytes = b"") -> None:
        super().__init__(reason.value)
        self.reason = reason
        self.response = response


def make_response(status: str, text: str) -> bytes:
    """A response by the proxy itself."""
    body = f"PipeGuard: {text}\n".encode("ascii", "backslashreplace")
    head = (
        f"HTTP/1.1 {status}\r\nContent-Type: text/plain\r\nContent-Length: {len(body)}\r\n"
        "Connection: close\r\n\r\n"
    )
    return head.encode("ascii") + body


class RequestBody:
    """The body of one request, taken from a stream as it comes.

    Args:
        length: its bytes; None if it is in chunks.
    """

    def __init__(self, length: int | None) -> None:
        self._left = length or 0
        self._is_chunked = length is None
        self._in_trailer = self._at_data_end = False
        self._line = b""
        self._trailers = 0
        self.is_whole = length == 0

    def take(self, data: bytes) -> int:
        """Count the leading bytes of data that belong to the body.

        Raises:
            BodyError: the chunks are malformed.
        """
        at = 0
        while at < len(data) and not self.is_whole:
            if self._left:
                step = min(self._left, len(data) - at)
                self._left -= step
                at += step
                self._at_data_end = not self._left
                self.is_whole = self._at_data_end and not self._is_chunked
            else:
                at = self._take_line(data, at)
        return at

    def _take_line(self, data: bytes, at: int) -> int:
        """Read up to the end of a line, and parse the line if it is complete."""
        newline = data.find(b"\n", at)
        end = len(data) if newline < 0 else newline + 1
        self._line += data[at:end]
        is_stray = self._at_data_end and not b"\r\n".startswith(self._line)
        if is_stray or len(self._line) > MAX_LINE_BYTES:
            raise BodyError
        if newline >= 0:
            line = self._line
            self._line = b""
            if not line.endswith(b"\r\n"):
                raise BodyError
            self._read_line(line[:-2])
        return end

    def _read_line(self, line: bytes) -> None:
        if self._at_data_end:
            self._at_data_end = False
        elif self._in_trailer:
            self._read_trailer(line)
        elif match := _SIZE.fullmatch(line):
            self._left = int(match[1], 16)
            self._in_trailer = not self._left
        else:
            raise BodyError

    def _read_trailer(self, line: bytes) -> None:
        self._trailers += 1
        if not line:
            self.is_whole = True
        elif (
            self._trailers > MAX_TRAILER_LINES
            or not _TRAILER.fullmatch(line)
            or _FORBIDDEN.match(line)
        ):
            raise BodyError


MAX_HEAD_BYTES = 16 * 2**10  # as curl's and Node's own limit for a response
END_OF_HEAD = b"\r\n\r\n"
HTTP_PORT = 80

_REQUEST_LINE = re.compile(
    rb"([!#$%&'*+.^_`|~0-9A-Za-z-]{1,32}) ([\x21-\x7e]+) (HTTP/1\.[01])", re.ASCII
)
_FIELD = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):([\x21-\x7e\x80-\xff \t]*)")
_URL = re.compile(rb"[Hh][Tt][Tt][Pp]://([^/?#@\\]+)((?:[/?][^#]*)?)")
_OTHER_SCHEME = re.compile(rb"[A-Za-z][A-Za-z0-9+.-]*://")
_LENGTH = re.compile(rb"[0-9]{1,18}")
# Of one hop only (RFC 9110, 7.6.1); a login is for a proxy, and we need no login.
_ONE_HOP = {
    b"connection",
    b"proxy-connection",
    b"keep-alive",
    b"te",
    b"upgrade",
    b"http2-settings",
    b"proxy-authorization",
    b"proxy-authenticate",
}
Fields = list[tuple[bytes, bytes]]  # of a head: names and values
_MUST_STAY = {b"host", b"content-length", b"transfer-encoding"}


CONNECTED = b"HTTP/1.1 200 Connection established\r\n\r\n"


class EgressRequest(NamedTuple):
    """The target that one connection asks for.

    Attributes:
        way: the protocol of the request.
        to_client: sent to the client when the host is connected.
        to_host: sent to the host first: the head of a request.
        early: bytes from the client after its request.
        body: finds the end of the request; None for a tunnel.
    """

    way: EgressWay
    target: HostAndPort
    to_client: bytes = b""
    to_host: bytes = b""
    early: bytes = b""
    body: RequestBody | None = None


def read_request(data: bytes) -> EgressRequest | None:
    """Read a request to an HTTP proxy; None while its head is incomplete.

    Raises:
        EgressRequestError: it is not of the strict form, or not for a proxy.
    """
    head, end, early = data.partition(END_OF_HEAD)
    if len(head) + len(END_OF_HEAD) > MAX_HEAD_BYTES:
        response = make_response("431 Request Header Fields Too Large", "the head is over 16 KiB.")
        raise EgressRequestError(EgressReason.MALFORMED, response)
    if end:
        return _read_head(head)._replace(early=early)
    if not data[:1].isalpha():
        raise EgressRequestError(EgressReason.MALFORMED)
    return None


def _error(why: str, reason: EgressReason = EgressReason.MALFORMED) -> EgressRequestError:
    return EgressRequestError(reason, make_response("400 Bad Request", f"{why}."))


def _read_head(head: bytes) -> EgressRequest:
    line, *lines = head.split(b"\r\n")
    match = _REQUEST_LINE.fullmatch(line)
    if not match:
        raise _error("the request line is malformed")
    method, url, version = match.groups()
    fields = [_field(text) for text in lines]
    body_length = _body_length(fields, version)
    if method == b"CONNECT":
        if body_length != 0:
            raise _error("CONNECT has no body")
        return EgressRequest(EgressWay.CONNECT, _authority(url), CONNECTED)
    target, path = _target(url)
    _check_host(fields, target, version)
    path = b"*" if method == b"OPTIONS" and not path else path  # RFC 9112, 3.2.4
    path = path if path.startswith((b"/", b"*")) else b"/" + path
    request_line = b" ".join((method, path, version))
    to_host = _head(request_line, fields)
    return EgressRequest(EgressWay.HTTP, target, b"", to_host, body=RequestBody(body_length))


def _field(line: bytes) -> tuple[bytes, bytes]:
    match = _FIELD.fullmatch(line)
    if not match:
        raise _error("a header is malformed")
    return match[1], match[2].strip(b" \t")


def _values(fields: Fields, name: bytes) -> list[bytes]:
    return [value for key, value in fields if key.lower() == name]


def _body_length(fields: Fields, version: bytes) -> int | None:
    """The length of the body in bytes; None for chunks (RFC 9112, 6.3)."""
    lengths = _values(fields, b"content-length")
    codings = _values(fields, b"transfer-encoding")
    if len(lengths) + len(codings) > 1:
        raise _error("the body's length is given twice")
    if codings:
        if codings[0].lower() != b"chunked" or version == b"HTTP/1.0":
            raise _error("the transfer coding is not chunked")
        return None
    if lengths and not _LENGTH.fullmatch(lengths[0]):
        raise _error("the body's length is not a number")
    return int(lengths[0]) if lengths else 0


def _authority(text: bytes, default_port: int | None = None) -> HostAndPort:
    try:
        return parse_authority(text.decode("ascii"), default_port)
    except (HostError, UnicodeDecodeError) as error:
        raise _error(f"the host is malformed: {error}") from None


def _target(url: bytes) -> tuple[HostAndPort, bytes]:
    match = _URL.fullmatch(url)
    if match:
        return _authority(match[1], HTTP_PORT), match[2]
    if _OTHER_SCHEME.match(url) and not url.lower().startswith(b"http://"):
        why = "only http is passed on; for https, use CONNECT"
        raise _error(why, EgressReason.UNSUPPORTED)
    raise _error("this is a proxy: the request needs a whole http URL without a login")


def _check_host(fields: Fields, target: HostAndPort, version: bytes) -> None:
    hosts = _values(fields, b"host")
    if len(hosts) > 1 or (not hosts and version != b"HTTP/1.0"):
        raise _error("a request has one Host header")
    if hosts and _authority(hosts[0], HTTP_PORT) != target:
        raise _error("the Host header names another host than the URL")


def _head(request_line: bytes, fields: Fields) -> bytes:
    """The head for the host, without fields meant for the proxy."""
    named = {
        option.strip(b" \t").lower()
        for value in _values(fields, b"connection")
        for option in value.split(b",")
    }
    if named & _MUST_STAY:
        raise _error("the Connection header names a header that the message needs")
    dropped = _ONE_HOP | named
    kept = [b": ".join(item) for item in fields if item[0].lower() not in dropped]
    return b"\r\n".join((request_line, *kept, b"Connection: close", b"", b""))
