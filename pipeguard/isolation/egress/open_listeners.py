"""Run alone, by `later_listeners`: enters a network and sends back sockets that listen there."""

import array
import ctypes
import os
import socket
import sys
from pathlib import Path

CLONE_NEWUSER, CLONE_NEWNET = 0x10000000, 0x40000000  # linux/sched.h
BACKLOG = 1024


def enter(descriptor: int, name: str, kind: int) -> None:
    """Enter a namespace, unless this process is in it."""
    if os.fstat(descriptor).st_ino == Path(f"/proc/self/ns/{name}").stat().st_ino:
        return
    if ctypes.CDLL(None, use_errno=True).setns(descriptor, kind):
        raise OSError(ctypes.get_errno(), "setns")


def listener(port: int) -> socket.socket | None:
    """A socket that listens at a port; None where the server listens there itself."""
    try:
        return listening(socket.AF_INET6, "::", port)
    except OSError:
        pass  # this system may have no IPv6
    try:
        return listening(socket.AF_INET, "0.0.0.0", port)  # noqa: S104  a namespace without interfaces
    except OSError:
        return None


def listening(family: int, address: str, port: int) -> socket.socket:
    """A socket at an address, of both families if it is of IPv6."""
    with socket.socket(family, socket.SOCK_STREAM) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        sock.bind((address, port))
        sock.listen(BACKLOG)
        return sock.dup()


def main() -> None:
    """Take the namespaces, the channel and the ports from the command line."""
    user, network, channel, *ports = map(int, sys.argv[1:])
    enter(user, "user", CLONE_NEWUSER)
    enter(network, "net", CLONE_NEWNET)
    opened = [sock for sock in map(listener, ports) if sock is not None]
    sent = array.array("i", [sock.fileno() for sock in opened])
    with socket.socket(fileno=channel) as sender:
        sender.sendmsg([b"s"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, sent)])


if __name__ == "__main__":
    main()
