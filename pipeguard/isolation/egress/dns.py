"""Questions of the domain name system, read and answered without asking anybody (RFC 1035).

One question a message, of class IN, without compression. A name that is not to be reached does not
exist: C libraries give up at once at NXDOMAIN; at REFUSED they ask again and wait.
"""

import struct
from enum import IntEnum
from ipaddress import IPv4Address, IPv4Network, IPv6Address
from typing import NamedTuple

from pipeguard.isolation.egress.hosts import LOCALHOST, LOOPBACK, Address, Host

# All addresses are local in the sandbox's network. These look public, because a careful program
# refuses to fetch from a private or loopback address; they are given out to no public service (11/8
# is of the US Department of Defense, IANA IPv4 address space registry).
NETWORK = IPv4Network("11.128.0.0/9")
MAX_NAMES = 4096  # a wildcard has as many names as a sandbox asks for


class NameAddresses:
    """Addresses of `NETWORK` by name, assigned at the first question and constant afterwards."""

    def __init__(self, limit: int = MAX_NAMES) -> None:
        self._limit = limit
        self._addresses: dict[str, IPv4Address] = {}
        self._names: dict[Address, str] = {}

    def give_address(self, name: str) -> IPv4Address | None:
        """The address of a name; None if all are assigned."""
        address = self._addresses.get(name)
        if address is None and len(self._addresses) < self._limit:
            address = self._addresses[name] = NETWORK[len(self._addresses) + 1]
            self._names[address] = name
        return address

    def find_host(self, address: Address) -> Host:
        """The host that an address of the sandbox's network stands for; in any thread."""
        if isinstance(address, IPv6Address):
            if address == LOOPBACK[1]:
                return LOCALHOST  # which programs try first under this address, then under another
            return IPv6Address(int(address))  # without a zone
        return self._names.get(address, address)


MAX_QUERY_BYTES = 512  # C libraries' resolvers send no larger ones
TTL_SECONDS = 60
TYPE_A = 1
CLASS_IN = 1
MAX_NAME_BYTES = 255  # with the lengths of its labels (RFC 1035, 2.3.4)
MAX_LABEL_BYTES = 63

_HEADER = struct.Struct("!6H")
_QUESTION_END = struct.Struct("!2H")
_ANSWER = struct.Struct("!3HIH4s")
_IS_RESPONSE, _OPCODE, _TRUNCATED, _RECURSE = 0x8000, 0x7800, 0x0200, 0x0100
_CAN_RECURSE = 0x0080
_NAME_OF_QUESTION = 0xC00C  # a pointer to the byte behind the header


class ResponseCode(IntEnum):
    """The status of an answer (RFC 1035, 4.1.1)."""

    NO_ERROR = 0
    FORMAT_ERROR = 1
    NO_SUCH_NAME = 3
    NOT_IMPLEMENTED = 4
    REFUSED = 5


class DnsQuestion(NamedTuple):
    """A parsed question.

    Attributes:
        number: the message's id.
        flags: of its header.
        name: in ASCII, without the final dot; other bytes and dots in labels are escaped.
        kind: the type of record, usually `TYPE_A`.
        raw: the question as it was sent, which the answer repeats.
    """

    number: int
    flags: int
    name: str
    kind: int
    raw: bytes


class DnsError(Exception):
    """A message that is not a question we can answer.

    Attributes:
        response: the response; None if none may be sent.
    """

    def __init__(self, response: bytes | None) -> None:
        super().__init__("not a question")
        self.response = response


def parse_question(message: bytes) -> DnsQuestion:
    """Parse a message with one question; ignore the sections after it (EDNS).

    Raises:
        DnsError: it is not a question.
    """
    if len(message) < _HEADER.size:
        raise DnsError(None)
    number, flags, questions, answers, authorities, extras = _HEADER.unpack_from(message)
    if flags & _IS_RESPONSE:
        raise DnsError(None)  # answering answers, two of us would never end
    if flags & _OPCODE:
        raise DnsError(_write(number, flags, ResponseCode.NOT_IMPLEMENTED))
    malformed = DnsError(_write(number, flags, ResponseCode.FORMAT_ERROR))
    counts = (questions, answers, authorities)
    if counts != (1, 0, 0) or extras > 1 or len(message) > MAX_QUERY_BYTES or flags & _TRUNCATED:
        raise malformed
    labels, end = _labels(message, malformed)
    if len(message) < end + _QUESTION_END.size:
        raise malformed
    kind, of_class = _QUESTION_END.unpack_from(message, end)
    if of_class != CLASS_IN:
        raise DnsError(_write(number, flags, ResponseCode.REFUSED))
    raw = message[_HEADER.size : end + _QUESTION_END.size]
    return DnsQuestion(number, flags, ".".join(map(_label_text, labels)), kind, raw)


def _labels(message: bytes, malformed: DnsError) -> tuple[list[bytes], int]:
    """The labels of the name after the header, and the position after it."""
    labels = []
    at = _HEADER.size
    while at < len(message) and (length := message[at]):
        if length > MAX_LABEL_BYTES:  # a pointer, which a single question does not need
            raise malformed
        labels.append(message[at + 1 : at + 1 + length])
        at += 1 + length
    if at >= len(message) or at + 1 - _HEADER.size > MAX_NAME_BYTES:
        raise malformed
    return labels, at + 1


def _label_text(label: bytes) -> str:
    text = label.decode("ascii", "backslashreplace")
    return "".join(c if c.isprintable() and c != "." else f"\\x{ord(c):02x}" for c in text)


def answer(
    question: DnsQuestion, address: IPv4Address | None, code: ResponseCode = ResponseCode.NO_ERROR
) -> bytes:
    """The answer for a name: its address, or none of this type.

    Args:
        question: the question.
        address: the name's address, or None.
        code: NO_SUCH_NAME if it may not be reached.
    """
    record = b""
    if address and question.kind == TYPE_A:
        fixed = _NAME_OF_QUESTION, TYPE_A, CLASS_IN, TTL_SECONDS, len(address.packed)
        record = _ANSWER.pack(*fixed, address.packed)
    return _write(question.number, question.flags, code, question.raw, record)


def _write(
    number: int, flags: int, code: ResponseCode, question: bytes = b"", record: bytes = b""
) -> bytes:
    flags = _IS_RESPONSE | flags & (_RECURSE | _OPCODE) | _CAN_RECURSE | code
    header = _HEADER.pack(number, flags, bool(question), bool(record), 0, 0)
    return header + question + record
