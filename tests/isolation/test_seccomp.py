"""The filter of system calls, run as the kernel and libseccomp would. isolation/seccomp.py."""

import json
import os
import re
import struct
import subprocess
from shutil import which

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeguard.errors import LaunchError
from pipeguard.isolation.seccomp import (
    ALLOW,
    ARCHITECTURES,
    EAFNOSUPPORT,
    ENOSYS,
    EPERM,
    EPROTONOSUPPORT,
    ERRNO,
    KILL,
    filter_program,
    profile_text,
)
from tests.each import each

MACHINES = list(ARCHITECTURES)
REFUSED, MISSING = ERRNO | EPERM, ERRNO | ENOSYS
SIGCHLD, NEWUSER, NEWNET, THREAD = 17, 0x10000000, 0x40000000, 0x003D0F00


def judged(machine: str, number: int, *arguments: int, audit: int | None = None) -> int:
    """The answer of a filter, by an interpreter of the few instructions that ours use."""
    architecture = ARCHITECTURES[machine][0] if audit is None else audit
    values = [*arguments, *[0] * (6 - len(arguments))]
    data = struct.pack("=IIQ6Q", number, architecture, 0, *values)
    program = list(struct.iter_unpack("=HBBI", filter_program(machine)))
    place, accumulator = 0, 0
    while True:
        code, if_true, if_false, value = program[place]
        place += 1
        if code == 0x06:
            return int(value)
        if code == 0x20:
            accumulator = struct.unpack_from("=I", data, value)[0]
        elif code == 0x54:
            accumulator &= value
        elif code == 0x05:
            place += value
        else:
            holds = {0x15: accumulator == value, 0x35: accumulator >= value}[code]
            place += if_true if holds else if_false


@each("machine", MACHINES)
def test_all_other_calls_pass(machine: str) -> None:
    refused = set(ARCHITECTURES[machine][1].values())
    for number in set(range(470)) - refused:
        assert judged(machine, number, 2**64 - 1, 2**64 - 1) == ALLOW, number


NO_FAMILY, NO_PROTOCOL = ERRNO | EAFNOSUPPORT, ERRNO | EPROTONOSUPPORT
JUDGED: list[tuple[str, tuple[int, ...], int]] = [
    *((name, (), REFUSED) for name in ("ptrace", "mount", "bpf", "keyctl", "setns", "unshare")),
    *((name, (), MISSING) for name in ("clone3", "io_uring_setup", "userfaultfd")),
    *(("clone", (flags,), ALLOW) for flags in (SIGCHLD, THREAD, 0xFF)),
    *(("clone", (flags,), REFUSED) for flags in (NEWUSER | SIGCHLD, NEWNET, 0x00020000)),
    ("clone", (NEWUSER | 2**40,), REFUSED),
    *(("socket", (family,), ALLOW) for family in (1, 2, 10, 16)),
    *(("socket", (family,), NO_FAMILY) for family in (0, 3, 9, 17, 40, 64, 65, 2**31 + 2)),
    *(("socket", (16, 3, protocol), ALLOW) for protocol in (0, 2**32)),
    *(("socket", (16, 3, protocol), NO_PROTOCOL) for protocol in (4, 6, 9, 12, 15, 16)),
    ("socket", (2, 1, 6), ALLOW),
    # Types into a terminal; the kernel takes the lower half of a request only, so that counts.
    *(("ioctl", (0, request), REFUSED) for request in (0x5412, 0x541C, 0x5412 | 2**32)),
    ("ioctl", (0, 0x5413), ALLOW),  # asks for the window's size
    *(("personality", (kind,), ALLOW) for kind in (0, 0xFFFFFFFF)),
    ("personality", (0x0040000,), REFUSED),  # without randomization
]


@each("machine", MACHINES)
def test_what_is_refused_is_refused_by_its_arguments(machine: str) -> None:
    calls = ARCHITECTURES[machine][1]
    for name, arguments, answer in JUDGED:
        assert judged(machine, calls[name], *arguments) == answer, (name, arguments)


def test_calls_of_another_architecture_end_the_process() -> None:
    assert judged("x86_64", 0, audit=0x40000003) == KILL  # i386
    assert judged("x86_64", 0x40000000 + 1) == KILL  # x32
    assert judged("aarch64", 0, audit=0x40000028) == KILL  # ARM


def test_a_machine_that_is_not_known_is_an_error() -> None:
    for make in (filter_program, profile_text):
        with pytest.raises(LaunchError, match="no filter of system calls is known for riscv64"):
            make("riscv64")


BY_ARGUMENT = ("clone", "ioctl", "socket", "personality")
PROFILES = {machine: json.loads(profile_text(machine)) for machine in MACHINES}
EDGES = [0, 1, 2, 9, 10, 16, 17, 40, 44, 63, 0x5412, 0x541C, 0x10000000, 0x7E020080, 0x40000]
ARGUMENT = st.sampled_from([*EDGES, 2**31, 2**32 - 1, 2**31 + 1]) | st.integers(0, 2**32 - 1)


def answered(machine: str, name: str, *arguments: int) -> int:
    """Return libseccomp's answer for a profile (seccomp_rule_add(3), SCMP_CMP_MASKED_EQ)."""
    for rule in PROFILES[machine]["syscalls"]:
        if name in rule["names"] and all(
            arguments[each["index"]] & each["value"] == each["valueTwo"] for each in rule["args"]
        ):
            assert rule["action"] == "SCMP_ACT_ERRNO"
            return ERRNO | int(rule["errnoRet"])
    assert PROFILES[machine]["defaultAction"] == "SCMP_ACT_ALLOW"
    return ALLOW


@each("machine", MACHINES)
def test_calls_are_refused_alike(machine: str) -> None:
    calls = ARCHITECTURES[machine][1]
    for name in sorted(set(calls) - set(BY_ARGUMENT)):
        assert answered(machine, name, 0, 0) == judged(machine, calls[name]) != ALLOW, name
    assert answered(machine, "read", 0, 0) == ALLOW


@given(
    st.sampled_from(MACHINES),
    st.sampled_from(BY_ARGUMENT),
    st.tuples(*[ARGUMENT] * 3),
    st.booleans(),
)
def test_arguments_are_judged_alike(
    machine: str, name: str, arguments: tuple[int, int, int], is_long: bool
) -> None:
    first, second, third = arguments
    more = 2**40 if is_long else 0  # which the kernel does not look at
    expected = judged(machine, ARCHITECTURES[machine][1][name], *arguments)
    assert answered(machine, name, first + more, second + more, third + more) == expected


COMPILERS = {"x86_64": "x86_64-linux-gnu-gcc", "aarch64": "aarch64-linux-gnu-gcc"}
# Of Linux 6.15 and later: headers that are older do not name them.
NEWER = {"open_tree_attr"}


def headers_of(machine: str) -> dict[str, int]:
    """The numbers of system calls in the kernel's headers, as a compiler for a machine has them."""
    compiler = which(COMPILERS[machine]) or (which("cc") if os.uname().machine == machine else None)
    if compiler is None:
        pytest.skip(f"there is no compiler for {machine}")
    command = [compiler, "-E", "-dM", "-x", "c", "-include", "asm/unistd.h", os.devnull]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    named = dict(re.findall(r"#define (__NR\w*) (\w+)", text))
    found = {}
    for name in named:
        value = name
        while value in named:  # some stand for another name
            value = named[value]
        if value.isdigit():
            found[re.sub("__NR(3264)?_", "", name, count=1)] = int(value)
    return found


@pytest.mark.parametrize(
    "machine",
    [
        pytest.param(name, marks=() if name == os.uname().machine else pytest.mark.exhaustive)
        for name in ARCHITECTURES
    ],
)
def test_the_numbers_are_those_of_the_kernels_headers(machine: str) -> None:
    headers = headers_of(machine)
    ours = ARCHITECTURES[machine][1]
    assert {
        name: (number, headers.get(name))
        for name, number in ours.items()
        if headers.get(name) != number and name not in NEWER - headers.keys()
    } == {}
    assert len(headers) > 250
