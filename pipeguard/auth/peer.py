"""Which user's program is at the other end of a loopback connection (proc_net_tcp, Linux)."""

from __future__ import annotations

import os
import socket
import struct
from pathlib import Path

_TABLES = ("/proc/net/tcp", "/proc/net/tcp6")
_MAPPED = "0000000000000000FFFF0000"  # ::ffff:0:0/96, in the table's notation
_LOCAL, _REMOTE, _UID, _INODE = 1, 2, 7, 9  # columns


def is_own_peer(peer: tuple[str, int], ours: tuple[str, int]) -> bool | None:
    """Whether a connection comes from a program of this user or of root.

    Args:
        peer: IPv4 address and port of the other end.
        ours: IPv4 address and port of our end.

    Returns:
        None where the system does not say.
    """
    there, here = _table_entry(*peer), _table_entry(*ours)
    has_table = False
    for table in _TABLES:
        try:
            lines = Path(table).read_text(encoding="ascii").splitlines()[1:]
        except (OSError, UnicodeDecodeError):
            continue
        has_table = True
        for line in lines:
            columns = line.split()
            ends = columns[_LOCAL].removeprefix(_MAPPED), columns[_REMOTE].removeprefix(_MAPPED)
            if ends == (there, here):
                # A socket that its program has closed has no inode; older kernels call it root's.
                return int(columns[_UID]) in (0, os.getuid()) and columns[_INODE] != "0"
    return False if has_table else None


def _table_entry(host: str, port: int) -> str:
    (number,) = struct.unpack("=I", socket.inet_aton(host))
    return f"{number:08X}:{port:04X}"
