"""PipeGuard's way out, as its own process: a proxy port and a port for direct connections."""

import socket
import sys
from collections import deque

from pipeguard.isolation.egress.hosts import HostRules
from pipeguard.isolation.egress.judge import EgressRecord
from pipeguard.isolation.egress.proxy import Egress
from pipeguard.isolation.egress.sockets import EgressSockets, send_sockets
from pipeguard.isolation.egress.state import EgressState

HOST = "host.example"


def resolve(name: str) -> list[str]:
    """One name, which is this machine."""
    return ["127.0.0.1"] if name == HOST else []


def main() -> None:
    """Print the port, and serve until stdin ends."""
    ports = [int(word) for word in sys.argv[1:]]
    rules = HostRules.parse([f"{HOST}:{port}" for port in ports], ports)
    sock = socket.create_server(("127.0.0.1", 0), backlog=1024)
    last: deque[EgressRecord] = deque(maxlen=1)
    ours, theirs = socket.socketpair()
    send_sockets(theirs, EgressSockets((sock,)))
    egress = Egress(ours, EgressState(rules, last.append, resolve=resolve))
    egress.start()
    print(sock.getsockname()[1], flush=True)
    sys.stdin.read()
    egress.close()


if __name__ == "__main__":
    main()
