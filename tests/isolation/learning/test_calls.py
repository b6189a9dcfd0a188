"""The filter that asks, run as the kernel would run it. isolation/learning/calls.py."""

from __future__ import annotations

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
from tests.isolation.filters import judged_by


def judged(machine: str, number: int, *arguments: int, audit: int | None = None) -> int:
    return judged_by(asking_filter(machine), machine, number, *arguments, audit=audit)


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
