"""The filter for containers answers as the kernel's own does. isolation/seccomp.py."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeguard.errors import LaunchError
from pipeguard.isolation.seccomp import ALLOW, ARCHITECTURES, BY_ARGUMENT, ERRNO, profile_text
from tests.each import each
from tests.isolation.test_seccomp import judged

MACHINES = list(ARCHITECTURES)
PROFILES = {machine: json.loads(profile_text(machine)) for machine in MACHINES}
EDGES = [0, 1, 2, 9, 10, 16, 17, 40, 44, 63, 0x5412, 0x541C, 0x10000000, 0x7E020080, 0x40000]
ARGUMENT = st.sampled_from([*EDGES, 2**31, 2**32 - 1, 2**31 + 1]) | st.integers(0, 2**32 - 1)


def answered(machine: str, name: str, *arguments: int) -> int:
    """What libseccomp answers for a profile (seccomp_rule_add(3), SCMP_CMP_MASKED_EQ)."""
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
    calls = ARCHITECTURES[machine].calls
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
    if name == "socket" and first > 63:
        return  # no family: the kernel says the same (socket(2), EAFNOSUPPORT)
    more = 2**40 if is_long else 0  # which the kernel does not look at
    expected = judged(machine, ARCHITECTURES[machine].calls[name], *arguments)
    assert answered(machine, name, first + more, second + more, third + more) == expected


def test_an_unknown_machine_is_refused() -> None:
    with pytest.raises(LaunchError, match="riscv64"):
        profile_text("riscv64")
