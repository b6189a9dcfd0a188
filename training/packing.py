"""Writes the files of the models that detection reads: those of the network and of the opener."""

from __future__ import annotations

import json
import struct
from collections.abc import Sequence
from itertools import accumulate

from pipeguard.detect.model import network_weights, opener_weights
from pipeguard.detect.model.network_weights import NUMBER, NUMBER_BITS
from pipeguard.detect.model.opener_weights import Weights

_SPREAD, _WORD = 0x9E3779B1, (1 << 32) - 1


def pack_opener(weights: Weights) -> bytes:
    """The content of an opener's file."""
    words, grams, scale, bias, threshold = weights
    header = {"scale": scale, "bias": bias, "threshold": threshold}
    return b"".join((opener_weights.MAGIC, json.dumps(header).encode(), b"\n", words, grams))


def pack_network(
    parts: Sequence[str],
    outputs: Sequence[str],
    tensors: Sequence[tuple[float, bytes]],
    layers: int,
) -> bytes:
    """The content of a network's file.

    Args:
        parts: of words, in the order of their numbers.
        outputs: their names.
        tensors: the step and the values of each, in the order of `Sizes.shapes`.
        layers: convolutions.
    """
    letters = [part.encode() for part in parts]
    ends = list(accumulate(map(len, letters)))
    slots = _slots(letters)
    header = {
        "parts": len(parts),
        "row": len(tensors[0][1]) // len(parts),
        "width": len(tensors[2][1]),
        "layers": layers,
        "outputs": list(outputs),
        "slots": len(slots),
        "letters": ends[-1],
        "steps": [step for step, _ in tensors],
    }
    values = [value for _, value in tensors]
    line = json.dumps(header, separators=(",", ":")).encode()
    return b"".join(
        (network_weights.MAGIC, line, b"\n", _bytes(slots), _bytes(ends), *letters, *values)
    )


def _slots(letters: Sequence[bytes]) -> list[int]:
    """The table that finds a part."""
    bits = (5 * len(letters) // 4).bit_length()
    slots = [0] * (1 << bits)
    for number, part in enumerate(letters):
        if number > NUMBER:
            found = _hash(part)
            slot = (found * _SPREAD & _WORD) >> (32 - bits)
            while slots[slot]:
                slot = (slot + 1) % len(slots)
            slots[slot] = found >> NUMBER_BITS << NUMBER_BITS | number
    return slots


def _hash(part: bytes) -> int:
    found = 0x811C9DC5
    for byte in part:
        found = (found ^ byte) * 0x01000193 & _WORD
    return found


def _bytes(numbers: Sequence[int]) -> bytes:
    return struct.pack(f"<{len(numbers)}I", *numbers)
