"""A network of a server's own, in which every address leads to PipeGuard.

It has only a loopback. All addresses are made local there (routes of type `local`, ip-route(8)), so
that every connection of the server arrives at the sockets of `egress.sockets`: a host that was not
granted is refused by name and reported, not just unreachable.

Runs in the process that becomes the server, between fork and exec, without threads.
"""

import os
import socket
import struct
import sys
from collections.abc import Iterable
from contextlib import suppress
from fcntl import ioctl

from pipeguard.isolation.cgroups import write_setting
from pipeguard.isolation.egress.sockets import open_sockets, send_sockets
from pipeguard.isolation.mounting import CLONE_NEWNS, leave_namespaces

assert sys.platform == "linux"  # noqa: S101  tells mypy which system's names to look up

CLONE_NEWUSER, CLONE_NEWNET = 0x10000000, 0x40000000  # linux/sched.h
SIOCSIFFLAGS, IFF_UP_RUNNING = 0x8914, 0x41  # netdevice(7)
# As rtnetlink(7) has them.
RTM_NEWROUTE, REQUEST_CREATE_ACK, RTA_OIF = 24, 0x405, 4
TABLE_LOCAL, PROTOCOL_BOOT, SCOPE_HOST, TYPE_LOCAL = 255, 3, 254, 2
NLMSG_ERROR = 2
_HEADER = struct.Struct("=IHHII")
_ROUTE = struct.Struct("=BBBBBBBBI")
_OUT = struct.Struct("=HHi")


def enter(uid: int, gid: int) -> None:
    """Move this process into a user, a mount and a network namespace of its own, as their root.

    Args:
        uid: our user.
        gid: our group.

    Raises:
        OSError: the kernel or a policy of this system does not allow it.
    """
    leave_namespaces(CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWNET)
    write_setting("/proc/self/setgroups", "deny")  # user_namespaces(7): before gid_map
    write_setting("/proc/self/uid_map", f"0 {uid} 1")
    write_setting("/proc/self/gid_map", f"0 {gid} 1")
    open_network()


def open_network() -> None:
    """Route all addresses of this process's network, which has only a loopback, to PipeGuard.

    Raises:
        OSError: this process is not the network's root.
    """
    flags = IFF_UP_RUNNING.to_bytes(2, sys.byteorder)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as made:
        ioctl(made.fileno(), SIOCSIFFLAGS, b"lo".ljust(16, b"\0") + flags.ljust(24, b"\0"))
    _make_local(socket.AF_INET)
    with suppress(OSError):  # without IPv6
        _make_local(socket.AF_INET6)


def pass_sockets(ports: Iterable[int], channel: int) -> None:
    """Make the sockets of the way out and send them to PipeGuard.

    Args:
        ports: TCP ports that the server may connect to by name or address.
        channel: a descriptor of the Unix socket that they are sent through.

    Raises:
        OSError: one cannot be made or sent.
    """
    sockets = open_sockets(ports)
    with socket.socket(fileno=os.dup(channel)) as sender:
        send_sockets(sender, sockets)
    sockets.close()


def _make_local(family: int) -> None:
    """Run `ip route add local 0.0.0.0/0 dev lo`, or its equivalent for IPv6."""
    route = _ROUTE.pack(family, 0, 0, 0, TABLE_LOCAL, PROTOCOL_BOOT, SCOPE_HOST, TYPE_LOCAL, 0)
    body = route + _OUT.pack(_OUT.size, RTA_OIF, socket.if_nametoindex("lo"))
    request = _HEADER.pack(_HEADER.size + len(body), RTM_NEWROUTE, REQUEST_CREATE_ACK, 1, 0) + body
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as made:
        made.send(request)
        answer = made.recv(4096)
    kind, error = struct.unpack_from("=4xH10xi", answer)
    if kind != NLMSG_ERROR or error:
        raise OSError(-error, "the loopback's route")
