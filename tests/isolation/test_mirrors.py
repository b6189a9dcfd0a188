"""Addresses of registries: a resolver that does not answer keeps nobody waiting."""

from __future__ import annotations

import socket
from threading import Event

from pipeguard.isolation.fetching import mirrors, resolve_name

KNOWN = {
    "one.example": ["10.0.0.1", "fd00::1"],
    "two.example": ["10.0.0.2", "10.0.0.1", "93.184.215.14"],
}


def test_a_name_that_takes_long_is_left_out_and_the_others_are_there() -> None:
    never = Event()

    def resolve(name: str) -> list[str]:
        if name == "slow.example":
            never.wait()
        if name not in KNOWN:
            raise socket.gaierror(socket.EAI_NONAME, name)
        return KNOWN[name]

    names = ("slow.example", "one.example", "none.example", "two.example")
    try:
        found = mirrors(names, resolve, seconds=0.5)
    finally:
        never.set()
    assert found == ("10.0.0.1:443", "[fd00::1]:443", "10.0.0.2:443")


def test_the_system_is_asked() -> None:
    assert "127.0.0.1:443" in mirrors(["localhost"])
    assert set(resolve_name("localhost")) <= {"127.0.0.1", "::1"}
