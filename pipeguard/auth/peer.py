"""Whose program is at the other end of a connection on loopback (proc_net_tcp, Linux)."""

from __future__ import annotations

import os
import socket
import struct
from pathlib import Path

_TABLES = ("/proc/net/tcp", "/proc/net/tcp6")
_MAPPED = "0000000000000000FFFF0000"  # ::ffff:0:0/96, as the table writes it
_LOCAL, _REMOTE, _UID, _INODE = 1, 2, 7, 9  # columns


def is_own_peer(peer: tuple[str, int], ours: tuple[str, int]) -> bool | None:
    """Whether a connection comes from a program of this user's or of root's.

    Args:
        peer: address and port of the other end, IPv4.
        ours: the same of ours.

    Returns:
        None where the system does not tell.
    """
    there, here = _written(*peer), _written(*ours)
    is_told = False
    for table in _TABLES:
        try:
            lines = Path(table).read_text(encoding="ascii").splitlines()[1:]
        except (OSError, UnicodeDecodeError):
            continue
        is_told = True
        for line in lines:
            columns = line.split()
            ends = columns[_LOCAL].removeprefix(_MAPPED), columns[_REMOTE].removeprefix(_MAPPED)
            if ends == (there, here):
                # What its program has closed belongs to nobody, and older kernels call it root's.
                return int(columns[_UID]) in (0, os.getuid()) and columns[_INODE] != "0"
    return False if is_told else None


def _written(host: str, port: int) -> str:
    (number,) = struct.unpack("=I", socket.inet_aton(host))
    return f"{number:08X}:{port:04X}"
