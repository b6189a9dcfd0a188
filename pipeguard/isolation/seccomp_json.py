"""The filter of system calls as containers take it: a profile in JSON, from the table of `seccomp`.

The format is that of the OCI runtime specification (config-linux, seccomp) as podman and docker
read it from `--security-opt seccomp=FILE`. It compares 64 bits of an argument where the kernel uses
32, so everything is compared under a mask.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from pipeguard.isolation.seccomp import (
    AF_NETLINK,
    BY_ARGUMENT,
    EAFNOSUPPORT,
    ENOSYS,
    EPERM,
    EPROTONOSUPPORT,
    FAMILIES,
    NETLINK_ROUTE,
    NEW_NAMESPACES_OF_CLONE,
    REPLACEABLE,
    TIOCLINUX,
    TIOCSTI,
    architecture_of,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

Rule = dict[str, object]

LOWER_HALF = 0xFFFFFFFF
TOP_BIT = 1 << 31
HIGHEST_FAMILY = 63  # AF_MAX of Linux 6.12 is 46, and the kernel refuses what is higher
_NAMES = {"x86_64": "SCMP_ARCH_X86_64", "aarch64": "SCMP_ARCH_AARCH64"}


def profile_text(machine: str) -> str:
    """The profile for a machine.

    Args:
        machine: as `uname -m` names it.

    Raises:
        LaunchError: its system calls are not known here.
    """
    found = architecture_of(machine)
    plain = [name for name in sorted(found.calls) if name not in BY_ARGUMENT]
    rules = [
        _refused([name for name in plain if name not in REPLACEABLE], EPERM),
        _refused([name for name in plain if name in REPLACEABLE], ENOSYS),
        *_by_argument(),
    ]
    profile = {
        "defaultAction": "SCMP_ACT_ALLOW",
        "architectures": [_NAMES[machine]],  # of another, the call ends the process
        "syscalls": rules,
    }
    return json.dumps(profile)


def _by_argument() -> Iterator[Rule]:
    for bit in _bits(NEW_NAMESPACES_OF_CLONE):
        yield _refused(["clone"], EPERM, (0, bit, bit))
    for request in (TIOCSTI, TIOCLINUX):
        yield _refused(["ioctl"], EPERM, (1, LOWER_HALF, request))
    for family in range(HIGHEST_FAMILY + 1):
        if family not in (*FAMILIES, AF_NETLINK):
            yield _refused(["socket"], EAFNOSUPPORT, (0, LOWER_HALF, family))
    for bit in _bits(LOWER_HALF ^ NETLINK_ROUTE):
        arguments = (0, LOWER_HALF, AF_NETLINK), (2, bit, bit)
        yield _refused(["socket"], EPROTONOSUPPORT, *arguments)
    # All but 0 and all ones: a lower bit is set and the top one is not, or the other way round.
    for bit in _bits(LOWER_HALF ^ TOP_BIT):
        yield _refused(["personality"], EPERM, (0, bit | TOP_BIT, bit))
        yield _refused(["personality"], EPERM, (0, bit | TOP_BIT, TOP_BIT))


def _refused(names: Iterable[str], error: int, *arguments: tuple[int, int, int]) -> Rule:
    """A rule; each argument is its place, a mask and what it is equal to under that mask."""
    rule: Rule = {"names": list(names), "action": "SCMP_ACT_ERRNO", "errnoRet": error}
    rule["args"] = [
        {"index": place, "value": mask, "valueTwo": value, "op": "SCMP_CMP_MASKED_EQ"}
        for place, mask, value in arguments
    ]
    return rule


def _bits(number: int) -> Iterator[int]:
    return (1 << place for place in range(number.bit_length()) if number >> place & 1)
