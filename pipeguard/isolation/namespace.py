"""A network of a server's own, and the sockets in it that lead to PipeGuard.

It has a loopback and no route. Its sockets are made here and sent to PipeGuard, which answers on
them from outside: a socket belongs to the network that it was made in (network_namespaces(7)).

Runs in the process that becomes the server, between fork and exec, without threads.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False  # as typing.TYPE_CHECKING, whose import costs 6 ms
if TYPE_CHECKING:
    from collections.abc import Sequence

CLONE_NEWUSER, CLONE_NEWNET = 0x10000000, 0x40000000  # linux/sched.h
SIOCSIFFLAGS, IFF_UP_RUNNING = 0x8914, 0x41  # netdevice(7)
BACKLOG = 512


class SocketAddress:
    """One socket to make: whether it is TCP, its address and port."""

    __slots__ = ("address", "is_tcp", "port")

    def __init__(self, address: str, port: int, *, is_tcp: bool = True) -> None:
        self.address = address
        self.port = port
        self.is_tcp = is_tcp


def enter(uid: int, gid: int) -> None:
    """Move this process into a user and a network namespace of its own, as their root.

    Args:
        uid: our user.
        gid: our group.

    Raises:
        OSError: the kernel or a policy of this system does not allow it.
    """
    import ctypes

    unshare = ctypes.CDLL(None, use_errno=True).unshare
    if unshare(CLONE_NEWUSER | CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "unshare")
    _write("/proc/self/setgroups", "deny")  # user_namespaces(7): before gid_map
    _write("/proc/self/uid_map", f"0 {uid} 1")
    _write("/proc/self/gid_map", f"0 {gid} 1")
    _raise_loopback()


def send_sockets(addresses: Sequence[SocketAddress], channel: int) -> None:
    """Make sockets and send them through a Unix socket, in order.

    Args:
        addresses: of the sockets.
        channel: a descriptor of the Unix socket.

    Raises:
        OSError: one cannot be made or sent.
    """
    import _socket  # the pure half makes enums, which costs 3 ms

    made = [_bound(each) for each in addresses]
    numbers = b"".join(each.fileno().to_bytes(4, sys.byteorder) for each in made)
    sender = _socket.socket(_socket.AF_UNIX, _socket.SOCK_SEQPACKET, 0, os.dup(channel))
    sender.sendmsg([b"s"], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, numbers)])
    for each in (sender, *made):
        each.close()


def _bound(address: SocketAddress):  # type: ignore[no-untyped-def]
    import _socket

    kind = _socket.SOCK_STREAM if address.is_tcp else _socket.SOCK_DGRAM
    made = _socket.socket(_socket.AF_INET, kind)
    made.setsockopt(_socket.SOL_SOCKET, _socket.SO_REUSEADDR, 1)
    made.bind((address.address, address.port))
    if address.is_tcp:
        made.listen(BACKLOG)
    return made


def _raise_loopback() -> None:
    import _socket
    from fcntl import ioctl

    made = _socket.socket(_socket.AF_INET, _socket.SOCK_DGRAM)
    try:
        flags = IFF_UP_RUNNING.to_bytes(2, sys.byteorder)
        ioctl(made.fileno(), SIOCSIFFLAGS, b"lo".ljust(16, b"\0") + flags.ljust(24, b"\0"))
    finally:
        made.close()


def _write(path: str, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY)
    try:
        os.write(descriptor, text.encode())
    finally:
        os.close(descriptor)
