"""The permitted targets, and the report of each connection. Values; no I/O."""

from collections.abc import Callable
from enum import Enum
from typing import NamedTuple

from pipeguard.isolation.egress.hosts import HostAndPort, HostRules


class EgressWay(Enum):
    """The protocol by which a connection was requested."""

    CONNECT = "connect"
    HTTP = "http"
    SOCKS5 = "socks5"
    DIRECT = "direct"
    DNS = "dns"


class EgressReason(Enum):
    """The reason for a refusal."""

    HOST = "host"  # no rule names it
    PORT = "port"  # a rule names the host with other ports
    ADDRESS = "address"  # all its addresses are private, local, reserved, or this machine's
    MALFORMED = "malformed"  # no request that we can read, or no host
    UNSUPPORTED = "unsupported"  # another version, command or scheme
    SLOW = "slow"  # the head did not come in time
    TOO_MANY = "too-many"  # connections at once, or names


OF_A_PROXY = "PROXY_"  # begins the error of a connection through the user's own network's proxy


class EgressRecord(NamedTuple):
    """One connection that ended or was refused. Has no path, query, header or content.

    Attributes:
        way: the protocol of the request.
        host: as requested, in its normal form; printable ASCII, at most 255 characters.
        port: as requested; 0 if there was none.
        address: the address that was connected to; the first one if all are forbidden, or empty. A
            proxy does not report its choice.
        reason: of a refusal; None if it was allowed.
        error: of a failure the name of the error, as `ECONNREFUSED`, with a proxy's reason; else
            empty.
        proxy: the host and port of the user's own network's proxy that it went through, or empty.
        bytes_sent: from the sandbox to the host.
        bytes_received: from the host to the sandbox.
        seconds: from accepting it to its end.
        at: when it was refused, on `time.monotonic`'s clock; None for now.
    """

    way: EgressWay
    host: str
    port: int
    address: str = ""
    reason: EgressReason | None = None
    error: str = ""
    proxy: str = ""
    bytes_sent: int = 0
    bytes_received: int = 0
    seconds: float = 0.0
    at: float | None = None


Report = Callable[[EgressRecord], None]


class Wall(NamedTuple):
    """A wall that a server hit.

    Attributes:
        rule: of its event: that of a refused connection, or of a file.
        subject: a path, a port, or a host with its port unless that is a web port.
        event: its name in the audit; empty before it is written.
        at: when a connection was refused, on `time.monotonic`'s clock.
    """

    rule: str
    subject: str
    event: str = ""
    at: float = 0.0


def find_refusal(rules: HostRules, target: HostAndPort) -> EgressReason | None:
    """Why a host and port may not be reached, before its name is resolved; None if it may."""
    ports = rules.allowed_ports(target.host)
    if target.port in ports:
        return None
    return EgressReason.PORT if ports else EgressReason.HOST
