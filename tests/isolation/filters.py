"""Runs a filter of system calls as the kernel would (seccomp(2)), for the tests of filters."""

from __future__ import annotations

import struct

from pipeguard.isolation.seccomp import ARCHITECTURES


def judged_by(
    filtered: bytes, machine: str, number: int, *arguments: int, audit: int | None = None
) -> int:
    """What a filter answers, by an interpreter of the few instructions that ours use."""
    architecture = ARCHITECTURES[machine].audit if audit is None else audit
    values = [*arguments, *[0] * (6 - len(arguments))]
    data = struct.pack("=IIQ6Q", number, architecture, 0, *values)
    program = list(struct.iter_unpack("=HBBI", filtered))
    place, accumulator = 0, 0
    while True:
        code, if_true, if_false, value = program[place]
        place += 1
        if code == 0x06:
            return int(value)
        if code == 0x20:
            accumulator = struct.unpack_from("=I", data, value)[0]
            continue
        holds = {
            0x15: accumulator == value,
            0x35: accumulator >= value,
            0x45: bool(accumulator & value),
        }[code]
        place += if_true if holds else if_false
