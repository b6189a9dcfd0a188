"""Runs in a network namespace: opens the sockets, sends them out, and becomes a command."""

import json
import os
import socket
import sys

from pipeguard.isolation.egress.sockets import open_sockets, send_sockets
from pipeguard.isolation.namespace import open_network


def main() -> None:
    open_network()
    channel, ports = socket.socket(fileno=int(sys.argv[1])), json.loads(sys.argv[2])
    send_sockets(channel, open_sockets(ports))
    if channel.recv(1) != b"g":
        raise SystemExit("nobody accepts")
    channel.close()
    os.execvp(sys.argv[3], sys.argv[3:])  # noqa: S606  the command of a test


if __name__ == "__main__":
    main()
