"""The filter that asks, run as the kernel would run it. isolation/learning/calls.py."""

from __future__ import annotations

import struct

import pytest

from pipeguard.errors import LaunchError
from pipeguard.isolation.learning.calls import (
    ASK,
    MAX_DATAGRAM_BYTES,
    NETWORK,
    PATHS,
    asking_filter,
    names_of,
)
from pipeguard.isolation.seccomp import ALLOW, ARCHITECTURES
from tests.each import each


def judged(machine: str, number: int, *arguments: int, audit: int | None = None) -> int:
    """What the filter answers, by an interpreter of the few instructions that it uses."""
    architecture = ARCHITECTURES[machine].audit if audit is None else audit
    values = [*arguments, *[0] * (6 - len(arguments))]
    data = struct.pack("=IIQ6Q", number, architecture, 0, *values)
    program = list(struct.iter_unpack("=HBBI", asking_filter(machine)))
    place, accumulator = 0, 0
    while True:
        code, if_true, if_false, value = program[place]
        place += 1
        if code == 0x06:
            return int(value)
        if code == 0x20:
            accumulator = struct.unpack_from("=I", data, value)[0]
            continue
        place += (
            if_true if {0x15: accumulator == value, 0x35: accumulator >= value}[code] else if_false
        )


@each("machine", list(ARCHITECTURES))
def test_each_call_that_is_known_is_asked_about_and_no_other(machine: str) -> None:
    names = names_of(machine)
    asked = {number for number in range(500) if judged(machine, number) == ASK}
    assert asked == set(names)
    assert {judged(machine, number) for number in set(range(500)) - asked} == {ALLOW}


@each("machine", list(ARCHITECTURES))
def test_each_call_is_one_that_the_tracer_reads(machine: str) -> None:
    assert set(names_of(machine).values()) <= {*PATHS, *NETWORK}


@each("machine", list(ARCHITECTURES))
def test_long_datagrams_are_no_questions_for_names(machine: str) -> None:
    (sendto,) = (number for number, name in names_of(machine).items() if name == "sendto")
    assert judged(machine, sendto, 3, 0, MAX_DATAGRAM_BYTES - 1) == ASK
    assert judged(machine, sendto, 3, 0, MAX_DATAGRAM_BYTES) == ALLOW
    assert judged(machine, sendto + 10_000) == ALLOW


def test_calls_of_another_architecture_pass() -> None:
    assert judged("x86_64", 5, audit=0x40000003) == ALLOW  # open(2) of i386


def test_a_machine_that_is_not_known_is_an_error() -> None:
    with pytest.raises(LaunchError, match="cannot be learned on riscv64"):
        asking_filter("riscv64")
